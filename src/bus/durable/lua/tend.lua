-- Renews a consumer's lease, gives the group back what consumers had whose lease is over, and removes those consumers.
--
-- KEYS, ARGV[1..4]  see group.lua
-- ARGV[5]  0 or 1   may it judge others? Not for a while after its own lease was over: then nobody could renew, because the server was
--                   away or its clock was set, and the others come back now
-- ARGV[6]  ms       its longest wait before a retry
-- ARGV[7]  text     where the look at what is parked goes on; 0 at its start
-- ARGV[8]  0 or 1   is what nobody of the group has read to be counted? 0: there was none
-- ARGV[9]  number   by chance: of the group's consumers one looks for those of other programs, as a rule
-- KEYS[8]  hash     group of the topic -> how many messages it has not read, or the id after which those begin; for a second after
--                   one has looked. No command of Redis tells that of one group: were each to ask, n groups would cost n times n.
--
-- Returns {0}: the consumer is not one of the group (any more); or {1, ms until something is due or -1, messages that the group has
-- not acknowledged, ms for which it must not judge others, where the look goes on, 1 if something is amiss that `audit` puts right, records removed}.
local may_judge, wait, cursor = ARGV[5] == '1', tonumber(ARGV[6]), ARGV[7]
local counts, chance, unread = ARGV[8] == '1', tonumber(ARGV[9]), KEYS[8]
local NOTED_MS = 1000
local ends = tonumber(redis.call('ZSCORE', consumers, me) or 0)
local held = redis.pcall('XPENDING', stream, group)
if ends == 0 or held.err then
  return { 0 }
end
redis.call('ZADD', consumers, now + lease, me)

-- Of the longest lease or wait of the group's consumers, and this one's. Nothing of a lost note is known until all have written it again.
local function longest(name, own)
  local noted = tonumber(redis.call('HGET', notes, name) or '')
  if not noted or noted < own then
    redis.call('HSET', notes, name, own)
  end
  return noted and math.max(noted, own)
end

-- Nothing lies further ahead than that: after the server's clock was set back everything would.
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
if ends >= now and may_judge then
  gone = redis.call('ZRANGEBYSCORE', consumers, '-inf', now, 'LIMIT', 0, 16)
  -- Also those of other programs, which have no lease: by how long they have been idle. Ours are those with one and `~waiting`.
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
    -- Nobody's name, whoever wrote it there.
    redis.call('ZREM', consumers, other)
    damaged = damaged + 1
  else
    take_over(other, GONE)
  end
end

-- Looks at all groups, and notes for the others what it has seen.
local function look_at_groups()
  local words, own = {}, nil
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local name, lag = field(info, 'name'), field(info, 'lag')
    -- Before Redis 7, and after deletions, nobody counts.
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

-- How many messages nobody of the group has read; from 1000 on, where nobody counts, it is said to be 1000.
local function count_unread()
  local noted = redis.pcall('HGET', unread, group)
  if type(noted) ~= 'string' then
    noted = look_at_groups()
  end
  return tonumber(noted) or #redis.call('XRANGE', stream, '(' .. noted, '+', 'COUNT', 1000)
end

local pending = (#gone > 0 and redis.call('XPENDING', stream, group) or held)[1]
local lag = counts and count_unread() or 0
local amiss, goes_on = damaged > 0, '0'
if pending == 0 then
  -- Whatever these hold is about messages that are pending no more.
  redis.call('UNLINK', lanes, due, parked)
else
  store_lanes()
  local waiting = 0
  for _, info in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do
    if info[1] == WAITING then
      waiting = tonumber(info[2])
    end
  end
  if waiting ~= redis.call('ZCARD', due) + redis.call('ZCARD', parked) then
    amiss = true
  end
  -- What is parked waits for a lane.
  local page = redis.call('ZSCAN', parked, cursor, 'COUNT', 100)
  goes_on = page[1]
  local keys, seen = {}, {}
  for i = 1, #page[2], 2 do
    local digits, rest = string.match(page[2][i], '^(%d+):(.*)$')
    local key = digits and #digits < 16 and string.sub(rest, 1, tonumber(digits))
    if not key then
      amiss = true
    elseif not seen[key] and known[key] == nil and #keys < 1000 then
      seen[key] = true
      keys[#keys + 1] = key
    end
  end
  look_up_lanes(keys)
  for _, key in ipairs(keys) do
    local lane = known[key]
    local id = lane and string.sub(lane[2], 1, 1) == '~' and string.sub(lane[2], 2)
    local holder = lane and (id and redis.call('ZSCORE', due, id .. ':' .. key) or redis.call('ZSCORE', consumers, lane[2]))
    if not holder then
      amiss = true
    end
  end
end
if #gone > 0 then
  redis.call('PUBLISH', wake, '')
end
return { 1, next_due(), pending + lag, ends < now and (longest_lease or lease) or 0, goes_on, amiss and 1 or 0, damaged }
