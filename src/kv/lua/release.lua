-- Releases a lock that the caller holds. If callers wait for it, publishes the release on the channel with the name of the key.
--
-- KEYS[1]  hash   the lock. owner: the holder's token; token: the fencing token; awaited: whether a release is published
-- ARGV[1]  token  the caller's owner token
--
-- Returns 1 if the lock was released, 0 if the caller no longer held it.
local key = KEYS[1]
local owner = ARGV[1]

local held = redis.call('HMGET', key, 'owner', 'awaited')
if held[1] ~= owner then
  return 0
end
redis.call('DEL', key)
if held[2] then
  -- The release succeeds also without permission for the channel: a waiting caller tries again by itself, only later.
  redis.pcall('PUBLISH', key, '')
end
return 1
