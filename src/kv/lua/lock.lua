-- Takes a lock that nobody holds. Asking again with the same owner token gives the same answer, so an answer that was
-- lost can be asked for again.
--
-- The fencing token is the larger of the last one plus 1 and the server's time in microseconds: it grows strictly while
-- the lock's hash is there, and also after it expired or was flushed, as long as the server's clock does not go back.
-- The hash outlives its lease by 24 hours, so that the number of remembered tokens is bounded.
-- Fencing tokens: Martin Kleppmann, "How to do distributed locking" (2016).
--
-- KEYS[1]  hash   owner: token of who holds it; until: ms of server time; token: the last fencing token
-- ARGV[1]  token  the caller's owner token
-- ARGV[2]  ms     how long the caller has it for, unless it renews
--
-- Returns {1, fencing token}, or {0, ms until the holder's lease ends}.
local key = KEYS[1]
local owner, lease = ARGV[1], tonumber(ARGV[2])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local held = redis.call('HMGET', key, 'owner', 'until', 'token')
local holder, until_ms, last = held[1], tonumber(held[2] or 0), tonumber(held[3] or 0)

local token
if holder and until_ms > now then
  if holder ~= owner then
    return { 0, until_ms - now }
  end
  token = last
else
  token = math.max(last + 1, now_us)
end
redis.call('HSET', key, 'owner', owner, 'until', string.format('%.0f', now + lease), 'token', string.format('%.0f', token))
redis.call('PEXPIRE', key, string.format('%.0f', lease + 86400000))
return { 1, token }
