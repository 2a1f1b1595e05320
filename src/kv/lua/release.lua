-- Releases a lock that the caller holds.
--
-- KEYS[1]  hash   the lock. owner: token of who holds it; token: its fencing token
-- ARGV[1]  token  the caller's owner token
--
-- Returns 1 when it was released, 0 when the caller held it no more.
local key = KEYS[1]
local owner = ARGV[1]

if redis.call('HGET', key, 'owner') ~= owner then
  return 0
end
redis.call('DEL', key)
return 1
