-- Trims a topic's stream to a length, an age and a size, and never what one of its groups has not acknowledged.
--
-- What all of its groups need is looked up once a second at most, however many ask; where that does not let anything go, less often.
--
-- KEYS[1]  stream      the topic
-- KEYS[2]  number      how much was appended to it, see grow.lua
-- KEYS[3]  sorted set  the same up to some of its entries
-- KEYS[4]  string      is there while the topic is not to be looked at
-- ARGV[1]  number      messages to keep
-- ARGV[2]  ms          how long to keep them
-- ARGV[3]  bytes       how much of them to keep
-- ARGV[4]  0 or 1      1: it goes on with what the call before has left
--
-- Returns {how many were removed, 1 if there is more to remove}.
local stream, appended, sizes, rests = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local length, age, size, goes_on = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
-- Others wait while it runs: messages and bytes that it removes at the most, and notes of `sizes`.
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

-- Of what is gone no note is needed.
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

-- The id of the last entry in front of the newest `size` bytes, as far as it is noted: what is behind it is no less than that, however often
-- this is asked and whatever notes are gone.
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
-- What is before this is too old, or too much.
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

-- Everything before `needed` is acknowledged by every group.
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

-- Whole nodes of the stream, so that trimming costs little.
local noted = redis.call('ZRANGE', sizes, 0, 0, 'WITHSCORES')[2] or 0
local average = math.max(1, (total - tonumber(noted)) / count)
local most = math.max(100, math.min(MOST, math.floor(MOST_BYTES / average)))
local removed, more = 0, 0
local function trim(to, limit)
  local these = redis.call('XTRIM', stream, 'MINID', '~', to, 'LIMIT', limit)
  removed = removed + these
  -- Short of a node, for less was left.
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
