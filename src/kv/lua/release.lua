-- Releases a lock that the caller holds. Its last fencing token stays for 24 hours.
--
-- KEYS[1]  hash   owner: token of who holds it; until: ms of server time; token: the last fencing token
-- ARGV[1]  token  the caller's owner token
--
-- Returns 1 when it was released, 0 when the caller held it no more.
local key = KEYS[1]
local owner = ARGV[1]

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', key, 'owner', 'until')
local holder, until_ms = held[1], tonumber(held[2] or 0)

if holder ~= owner then
  return 0
end
redis.call('HDEL', key, 'owner', 'until')
redis.call('PEXPIRE', key, 86400000)
if until_ms <= now then
  return 0
end
return 1
