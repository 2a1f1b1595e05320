-- Releases a lock that the caller holds, and says so to those who wait for it, on the channel of the same name.
--
-- KEYS[1]  hash   the lock. owner: token of who holds it; token: its fencing token; awaited: whether to tell of its release
-- ARGV[1]  token  the caller's owner token
--
-- Returns 1 when it was released, 0 when the caller held it no more.
local key = KEYS[1]
local owner = ARGV[1]

local held = redis.call('HMGET', key, 'owner', 'awaited')
if held[1] ~= owner then
  return 0
end
redis.call('DEL', key)
if held[2] then
  -- A user without a right to the channel releases all the same: who waits looks by itself too.
  redis.pcall('PUBLISH', key, '')
end
return 1
