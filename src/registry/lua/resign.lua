-- Ends the caller's leadership of a role, and wakes the candidates. The token stays, so that the next one is larger.
--
-- KEYS[1]  hash     see part/leader.lua
-- KEYS[2]  channel  wakes the candidates
-- ARGV[1]  text     the caller
-- ARGV[2]  text     the role
--
-- Returns 1, or 0 when the caller was no longer the leader.
if leader ~= ARGV[1] then
  return 0
end
redis.call('HDEL', key, 'owner', 'until')
redis.call('PUBLISH', KEYS[2], ARGV[2])
return ends > now and 1 or 0
