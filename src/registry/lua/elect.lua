-- Makes the caller the leader of a role that has no leader. The leader itself renews its lease, and gets the same token.
--
-- The token is the larger of the last token plus 1 and the server's time in microseconds. So it grows strictly while the hash
-- exists, and also after the hash expired or was flushed, as long as the server's clock does not go back. If a lease ends later
-- than a lease that starts now, the clock has gone back; then it ends its own length from now.
--
-- KEYS[1]  hash  see part/leader.lua
-- ARGV[1]  text  the caller
-- ARGV[2]  ms    its lease
--
-- Returns {1, token}, or {0, ms until the leader's lease ends}.
local owner, lease = ARGV[1], tonumber(ARGV[2])
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local longest = length > 0 and math.min(length, 2147483647) or lease
if leader and ends > now + longest then
  ends = now + longest
  redis.call('HSET', key, 'until', integer(ends))
end
local mine = leader == owner and ends > now
if leader and not mine and ends > now then
  return { 0, ends - now }
end
local token = integer(mine and last or math.max(last + 1, now_us))
redis.call('HSET', key, 'owner', owner, 'until', integer(now + lease), 'lease', integer(lease), 'token', token)
redis.call('PEXPIRE', key, integer(lease + 86400000))
return { 1, tonumber(token) }
