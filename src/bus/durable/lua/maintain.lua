-- Renews a consumer's lease, and takes over from consumers whose lease has ended.
--
-- KEYS, ARGV[1..4]  see group.lua
-- ARGV[5]  0 or 1   may the consumer take over from others? Not for a while after its own lease had ended: then no consumer could renew,
--                   because the server was away or its clock was set, and the others come back now
-- ARGV[6]  ms       its longest delay before a retry
-- ARGV[7]  text     the cursor of the check of parked messages; 0 at its start
-- ARGV[8]  0 or 1   1: count the messages that the group has not read; 0: there are none
-- ARGV[9]  number   a random number: usually one of the group's consumers looks for consumers of other programs
-- KEYS[8]  hash     group of the topic -> how many messages it has not read, or the last id that it has read; kept for a second. No command
--                   of Redis gives this for one group: if each group asked, n groups would cost n times n
--
-- Returns {0}: the consumer is not a member of the group; or {1, ms until the next message is due or -1, messages that the group has not
-- acknowledged, ms for which the consumer must not take over, the next cursor, 1 if an audit is needed, damaged records removed}.
local may_take_over, wait, cursor = ARGV[5] == '1', tonumber(ARGV[6]), ARGV[7]
local counts, chance, unread = ARGV[8] == '1', tonumber(ARGV[9]), KEYS[8]
local NOTED_MS = 1000
local ends = tonumber(redis.call('ZSCORE', consumers, me) or 0)
local held = redis.pcall('XPENDING', stream, group)
if ends == 0 or held.err then
  return { 0 }
end
redis.call('ZADD', consumers, now + lease, me)

-- The longest lease or delay of the group's consumers, including this one. Nothing where the note is lost: until all have written
-- it again it is unknown.
local function longest(name, own)
  local noted = tonumber(redis.call('HGET', notes, name) or '')
  if not noted or noted < own then
    redis.call('HSET', notes, name, own)
  end
  return noted and math.max(noted, own)
end

-- Moves times that are further away than possible to the latest possible time: the server's clock was set back.
local function bound(set, most)
  local far = most and redis.call('ZRANGEBYSCORE', set, '(' .. string.format('%.0f', now + most), '+inf', 'LIMIT', 0, 100) or {}
  for _, member in ipairs(far) do
    redis.call('ZADD', set, now + most, member)
  end
end

local longest_lease = longest('lease', lease)
bound(consumers, longest_lease)
bound(due, longest('wait', wait))

local GONE = 'its consumer ended or did not answer for longer than claimAfterMs'
local gone = {}
if ends >= now and may_take_over then
  gone = redis.call('ZRANGEBYSCORE', consumers, '-inf', now, 'LIMIT', 0, 16)
  -- Consumers of other programs have no lease; they are judged by how long they have been idle. The consumers of this package
  -- have a lease, or are WAITING.
  local ours = redis.call('ZCARD', consumers)
  local all = chance % ours == 0 and redis.call('XINFO', 'CONSUMERS', stream, group) or {}
  if #all > ours + 1 then
    for _, info in ipairs(all) do
      local other = field(info, 'name')
      if other ~= WAITING and field(info, 'idle') > lease and not redis.call('ZSCORE', consumers, other) then
        gone[#gone + 1] = other
      end
    end
  end
end
for _, other in ipairs(gone) do
  if other == WAITING then
    -- No consumer has this name.
    redis.call('ZREM', consumers, other)
    damaged = damaged + 1
  else
    take_over(other, GONE)
  end
end

-- Counts the unread messages of all groups, and notes them for the other groups.
local function count_all_groups()
  local words, own = {}, nil
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local name, lag = field(info, 'name'), field(info, 'lag')
    -- The server does not count before Redis 7, and after deletions.
    words[#words + 1] = name
    words[#words + 1] = type(lag) == 'number' and lag or field(info, 'last-delivered-id')
    own = name == group and words[#words] or own
  end
  redis.call('DEL', unread)
  for from = 1, #words, 1000 do
    redis.call('HSET', unread, unpack(words, from, math.min(from + 999, #words)))
  end
  redis.call('PEXPIRE', unread, NOTED_MS)
  return own
end

-- How many messages the group has not read; at most 1000 where the server does not count.
local function count_unread()
  local noted = redis.pcall('HGET', unread, group)
  if type(noted) ~= 'string' then
    noted = count_all_groups()
  end
  return tonumber(noted) or #redis.call('XRANGE', stream, '(' .. noted, '+', 'COUNT', 1000)
end

local pending = (#gone > 0 and redis.call('XPENDING', stream, group) or held)[1]
local lag = counts and count_unread() or 0
local needs_audit, next_cursor = damaged > 0, '0'
if pending == 0 then
  -- Nothing is pending, so no record is of use.
  redis.call('UNLINK', key_queues, due, parked)
else
  store_key_queues()
  local waiting = 0
  for _, info in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do
    if info[1] == WAITING then
      waiting = tonumber(info[2])
    end
  end
  if waiting ~= redis.call('ZCARD', due) + redis.call('ZCARD', parked) then
    needs_audit = true
  end
  -- Each parked message needs a key queue.
  local page = redis.call('ZSCAN', parked, cursor, 'COUNT', 100)
  next_cursor = page[1]
  local keys, seen = {}, {}
  for i = 1, #page[2], 2 do
    local digits, rest = string.match(page[2][i], '^(%d+):(.*)$')
    local key = digits and #digits < 16 and string.sub(rest, 1, tonumber(digits))
    if not key then
      needs_audit = true
    elseif not seen[key] and loaded[key] == nil and #keys < 1000 then
      seen[key] = true
      keys[#keys + 1] = key
    end
  end
  load_key_queues(keys)
  for _, key in ipairs(keys) do
    local queue = loaded[key]
    local id = queue and string.sub(queue[2], 1, 1) == '~' and string.sub(queue[2], 2)
    local holder = queue and (id and redis.call('ZSCORE', due, id .. ':' .. key) or redis.call('ZSCORE', consumers, queue[2]))
    if not holder then
      needs_audit = true
    end
  end
end
if #gone > 0 then
  redis.call('PUBLISH', wake, '')
end
return { 1, next_due(), pending + lag, ends < now and (longest_lease or lease) or 0, next_cursor, needs_audit and 1 or 0, damaged }
