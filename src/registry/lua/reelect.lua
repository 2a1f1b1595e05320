-- Renews the lease of who leads a role. Asked again it does no harm.
--
-- KEYS[1]  hash  owner: who leads; until: ms of server time; token: the last fencing token
-- ARGV[1]  text  the caller
-- ARGV[2]  ms    how long it leads from now, unless it renews
--
-- Returns 1, or 0 when the caller leads no more.
local key, owner, lease = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local led = redis.call('HMGET', key, 'owner', 'until')
if led[1] ~= owner or tonumber(led[2] or 0) <= now then
  return 0
end
redis.call('HSET', key, 'until', string.format('%.0f', now + lease))
redis.call('PEXPIRE', key, string.format('%.0f', lease + 86400000))
return 1
