-- Renews a lock that the caller holds.
--
-- KEYS[1]  hash   owner: token of who holds it; until: ms of server time; token: the last fencing token
-- ARGV[1]  token  the caller's owner token
-- ARGV[2]  ms     how long the caller has it for, from now
--
-- Returns 1 when it was renewed, 0 when the caller holds it no more.
local key = KEYS[1]
local owner, lease = ARGV[1], tonumber(ARGV[2])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', key, 'owner', 'until')
local holder, until_ms = held[1], tonumber(held[2] or 0)

if holder ~= owner or until_ms <= now then
  return 0
end
redis.call('HSET', key, 'until', string.format('%.0f', now + lease))
redis.call('PEXPIRE', key, string.format('%.0f', lease + 86400000))
return 1
