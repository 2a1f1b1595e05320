-- Renews the lease of who leads a role. Asked again it does no harm.
--
-- KEYS[1]  hash  see part/role.lua
-- ARGV[1]  text  the caller
-- ARGV[2]  ms    how long it leads from now, unless it renews
--
-- Returns 1, or 0 when the caller leads no more.
local lease = tonumber(ARGV[2])
if leader ~= ARGV[1] or ends <= now then
  return 0
end
redis.call('HSET', key, 'until', whole(now + lease))
redis.call('PEXPIRE', key, whole(lease + 86400000))
return 1
