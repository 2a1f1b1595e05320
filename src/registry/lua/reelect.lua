-- Renews the lease of a leader. A repeated call is harmless.
--
-- KEYS[1]  hash  see part/leader.lua
-- ARGV[1]  text  the caller
-- ARGV[2]  ms    its lease, from now
--
-- Returns 1, or 0 when the caller is no longer the leader.
local lease = tonumber(ARGV[2])
if leader ~= ARGV[1] or ends <= now then
  return 0
end
redis.call('HSET', key, 'until', integer(now + lease))
redis.call('PEXPIRE', key, integer(lease + 86400000))
return 1
