-- Trims a topic's stream to a length, an age and a size. Messages that a group has not acknowledged stay.
--
-- The messages that the groups still need are determined at most once a second, for any number of callers, and less often where
-- nothing can be trimmed.
--
-- KEYS[1]  stream      the topic
-- KEYS[2]  number      the bytes that were appended to it, see count_appended.lua
-- KEYS[3]  sorted set  the same sum, up to some of its entries
-- KEYS[4]  string      exists while the topic must not be trimmed
-- ARGV[1]  number      messages to keep
-- ARGV[2]  ms          how long to keep them
-- ARGV[3]  bytes       bytes to keep
-- ARGV[4]  0 or 1      1: continues the call before
--
-- Returns {how many were removed, 1 if there is more to remove}.
local stream, appended, sizes, rests = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local length, age, size, goes_on = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
-- The most messages, bytes and notes of one call, because it delays all other clients.
local MOST, MOST_BYTES, MOST_NOTES = 10000, 67108864, 1000
local REST_MS, LONG_REST_MS = 1000, 5000

local function pad(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

local function earlier(a, b)
  return pad(a) < pad(b)
end

local oldest = redis.pcall('XRANGE', stream, '-', '+', 'COUNT', 1)
oldest = not oldest.err and oldest[1]
if not oldest then
  return { 0, 0 }
end
local first, count = oldest[1], redis.call('XLEN', stream)

-- Notes of trimmed entries are removed.
local notes = redis.pcall('ZRANGE', sizes, 0, MOST_NOTES - 1)
if notes.err then
  redis.call('DEL', sizes)
  notes = {}
end
local gone = 0
while notes[gone + 1] and string.match(notes[gone + 1], '^%d+%-%d+$') and earlier(notes[gone + 1], first) do
  gone = gone + 1
end
if gone > 0 then
  redis.call('ZREMRANGEBYRANK', sizes, 0, gone - 1)
end

local total = redis.pcall('GET', appended)
total = type(total) == 'string' and tonumber(total) or 0

-- The id of the last noted entry before the newest `size` bytes. At least `size` bytes are behind it, even if notes are lost.
local function last_beyond_size()
  if total <= size then
    return nil
  end
  local note = redis.call('ZREVRANGEBYSCORE', sizes, string.format('%.0f', total - size), '-inf', 'LIMIT', 0, 1)[1]
  return note and string.match(note, '^%d+%-%d+$')
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local excess = count - length
-- Entries before this id are too old, or exceed the size.
local from = string.format('%.0f-0', math.max(0, now - age))
local last = last_beyond_size()
if last then
  local ms, seq = string.match(last, '^(%d+)-(%d+)$')
  local behind = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
  from = earlier(from, behind) and behind or from
end
if excess <= 0 and not earlier(first, from) then
  return { 0, 0 }
end
if not goes_on and not redis.call('SET', rests, '', 'NX', 'PX', LONG_REST_MS) then
  return { 0, 0 }
end

-- All groups have acknowledged every entry before `needed`.
local needed = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1][1]
for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local unread = field(group, 'last-delivered-id')
  if field(group, 'pending') > 0 then
    unread = redis.call('XPENDING', stream, field(group, 'name'))[2] or unread
  end
  if earlier(unread, needed) then
    needed = unread
  end
end

-- Trims whole nodes of the stream, which is cheap.
local noted = redis.call('ZRANGE', sizes, 0, 0, 'WITHSCORES')[2] or 0
local average = math.max(1, (total - tonumber(noted)) / count)
local most = math.max(100, math.min(MOST, math.floor(MOST_BYTES / average)))
local removed, more = 0, 0
local function trim(to, limit)
  local these = redis.call('XTRIM', stream, 'MINID', '~', to, 'LIMIT', limit)
  removed = removed + these
  -- XTRIM removes whole nodes, so it may stop short of the limit although there is more.
  if limit == most and these > most / 2 then
    more = 1
  end
end
if excess > 0 then
  trim(needed, math.min(excess, most))
end
if earlier(first, from) then
  trim(earlier(needed, from) and needed or from, most)
end
if removed > 0 then
  redis.call('SET', rests, '', 'PX', REST_MS)
end
return { removed, more }
