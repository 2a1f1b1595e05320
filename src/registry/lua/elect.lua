-- Makes the caller the leader of a role that nobody leads. Asked again by the same owner it renews, and gives the same token.
--
-- The token is the larger of the last one plus 1 and the server's time in microseconds, so that it grows strictly while the
-- hash is there, and also after it expired or was flushed, as long as the server's clock does not go back.
--
-- KEYS[1]  hash  owner: who leads; until: ms of server time; token: the last fencing token
-- ARGV[1]  text  the caller
-- ARGV[2]  ms    how long it leads, unless it renews
--
-- Returns {1, token}, or {0, ms until the leader's lease ends}.
local key, owner, lease = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local led = redis.call('HMGET', key, 'owner', 'until', 'token')
local ends, last = tonumber(led[2] or 0), tonumber(led[3] or 0)
local mine = led[1] == owner and ends > now
if led[1] and not mine and ends > now then
  return { 0, ends - now }
end
local token = string.format('%.0f', mine and last or math.max(last + 1, now_us))
redis.call('HSET', key, 'owner', owner, 'until', string.format('%.0f', now + lease), 'token', token)
redis.call('PEXPIRE', key, string.format('%.0f', lease + 86400000))
return { 1, tonumber(token) }
