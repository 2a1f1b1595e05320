-- Ends the caller's leadership of a role, and says so to who waits for it. The token stays, so that the next one is larger.
--
-- KEYS[1]  hash     see part/role.lua
-- KEYS[2]  channel  where it is said
-- ARGV[1]  text     the caller
-- ARGV[2]  text     the role
--
-- Returns 1, or 0 when the caller did not lead any more.
if leader ~= ARGV[1] then
  return 0
end
redis.call('HDEL', key, 'owner', 'until')
redis.call('PUBLISH', KEYS[2], ARGV[2])
return ends > now and 1 or 0
