-- Renews a consumer's lease, gives the group back what consumers had whose lease is over, and removes those consumers.
--
-- KEYS, ARGV[1..4]  see group.lua
--
-- Returns {0}: the consumer is not one of the group (any more); or {1, ms until something is due or -1, messages that the group has
-- not acknowledged}.
local ends = tonumber(redis.call('ZSCORE', consumers, me) or 0)
local groups = redis.pcall('XINFO', 'GROUPS', stream)
local about
for _, info in ipairs(groups.err and {} or groups) do
  if field(info, 'name') == group then
    about = info
  end
end
if ends == 0 or not about then
  return { 0 }
end
redis.call('ZADD', consumers, now + lease, me)

local GONE = 'its consumer ended or did not answer for longer than claimAfterMs'
local gone = {}
-- If its own lease was over too, then because nobody could renew: the server was away, and the others come back now.
if ends >= now then
  gone = redis.call('ZRANGEBYSCORE', consumers, '-inf', now, 'LIMIT', 0, 16)
  -- Also those of other programs, which have no lease: by how long they have been idle. Ours are those with one and `~waiting`.
  if field(about, 'consumers') > redis.call('ZCARD', consumers) + 1 then
    for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
      local other = field(info, 'name')
      if other ~= WAITING and field(info, 'idle') > lease and not redis.call('ZSCORE', consumers, other) then
        gone[#gone + 1] = other
      end
    end
  end
end
for _, other in ipairs(gone) do
  take_over(other, GONE)
end

local pending, lag = field(about, 'pending'), field(about, 'lag')
if type(lag) ~= 'number' then
  -- Before Redis 7, and after deletions, nobody counts; from 1000 on it is said to be 1000.
  lag = #redis.call('XRANGE', stream, '(' .. field(about, 'last-delivered-id'), '+', 'COUNT', 1000)
end
if pending == 0 then
  -- Whatever these hold is about messages that are pending no more.
  redis.call('DEL', lanes, due, parked)
else
  store_lanes()
end
if #gone > 0 then
  redis.call('PUBLISH', wake, '')
end
return { 1, next_due(), pending + lag }
