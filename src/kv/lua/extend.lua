-- Renews a lock that the caller holds.
--
-- KEYS[1]  hash   the lock. owner: the holder's token; token: the fencing token; awaited: see lock.lua
-- ARGV[1]  token  the caller's owner token
-- ARGV[2]  ms     how long the lock lasts from now
--
-- Returns 1 if the lock was renewed, 0 if the caller no longer holds it.
local key = KEYS[1]
local owner, lease = ARGV[1], ARGV[2]

if redis.call('HGET', key, 'owner') ~= owner then
  return 0
end
redis.call('PEXPIRE', key, lease)
return 1
