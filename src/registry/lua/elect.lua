-- Makes the caller the leader of a role that nobody leads. Asked again by the same owner it renews, and gives the same token.
--
-- The token is the larger of the last one plus 1 and the server's time in microseconds, so that it grows strictly while the
-- hash is there, and also after it expired or was flushed, as long as the server's clock does not go back. A lease that ends later
-- than one that starts now is of a clock that has gone back since: it ends its own length from now.
--
-- KEYS[1]  hash  see part/role.lua
-- ARGV[1]  text  the caller
-- ARGV[2]  ms    how long it leads, unless it renews
--
-- Returns {1, token}, or {0, ms until the leader's lease ends}.
local owner, lease = ARGV[1], tonumber(ARGV[2])
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local longest = length > 0 and math.min(length, 2147483647) or lease
if leader and ends > now + longest then
  ends = now + longest
  redis.call('HSET', key, 'until', whole(ends))
end
local mine = leader == owner and ends > now
if leader and not mine and ends > now then
  return { 0, ends - now }
end
local token = whole(mine and last or math.max(last + 1, now_us))
redis.call('HSET', key, 'owner', owner, 'until', whole(now + lease), 'lease', whole(lease), 'token', token)
redis.call('PEXPIRE', key, whole(lease + 86400000))
return { 1, tonumber(token) }
