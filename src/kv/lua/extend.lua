-- Renews a lock that the caller holds.
--
-- KEYS[1]  hash   the lock. owner: token of who holds it; token: its fencing token; awaited: see lock.lua
-- ARGV[1]  token  the caller's owner token
-- ARGV[2]  ms     how long the caller has it for, from now
--
-- Returns 1 when it was renewed, 0 when the caller holds it no more.
local key = KEYS[1]
local owner, lease = ARGV[1], ARGV[2]

if redis.call('HGET', key, 'owner') ~= owner then
  return 0
end
redis.call('PEXPIRE', key, lease)
return 1
