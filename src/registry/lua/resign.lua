-- Ends the caller's leadership of a role, and says so to who waits for it. The token stays, so that the next one is larger.
--
-- KEYS[1]  hash     owner: who leads; until: ms of server time; token: the last fencing token
-- KEYS[2]  channel  where it is said
-- ARGV[1]  text     the caller
-- ARGV[2]  text     the role
--
-- Returns 1, or 0 when the caller did not lead any more.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local led = redis.call('HMGET', KEYS[1], 'owner', 'until')
if led[1] ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[1], 'owner', 'until')
redis.call('PUBLISH', KEYS[2], ARGV[2])
return tonumber(led[2] or 0) > now and 1 or 0
