-- Takes a lock that nobody else holds. The same owner token gets the same answer again, so the call may be repeated after a lost
-- answer.
--
-- The fencing token is the larger of the last fencing token plus 1 and the server's time in microseconds. Many locks share the
-- key of the last token, so a lock that was released or has expired leaves no key of its own. The key of the last token expires
-- 24 hours after the last lock was taken, or is deleted by FLUSHALL. After that tokens still grow unless the server's clock was
-- set back. Fencing tokens: Martin Kleppmann, "How to do distributed locking" (2016).
--
-- KEYS[1]  hash    the lock. owner: the holder's token; token: the fencing token; awaited: whether a release is published
-- KEYS[2]  string  the last fencing token
-- ARGV[1]  token   the caller's owner token
-- ARGV[2]  ms      how long the lock lasts unless it is renewed
-- ARGV[3]  0 or 1  whether the caller waits if another caller holds the lock
--
-- Returns {1, fencing token}, or {0, ms until the holder's lease ends}.
local key, last_key = KEYS[1], KEYS[2]
local owner, lease, waits = ARGV[1], ARGV[2], ARGV[3] == '1'

local held = redis.call('HMGET', key, 'owner', 'token', 'awaited')
local holder, token, awaited = held[1], held[2], held[3]
if holder and holder ~= owner then
  if waits and not awaited then
    redis.call('HSET', key, 'awaited', '1')
  end
  return { 0, redis.call('PTTL', key) }
end
if not holder then
  local time = redis.call('TIME')
  local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local last = tonumber(redis.call('GET', last_key) or 0)
  token = string.format('%.0f', math.max(last + 1, now_us))
  redis.call('SET', last_key, token, 'PX', 86400000)
  redis.call('HSET', key, 'owner', owner, 'token', token)
end
redis.call('PEXPIRE', key, lease)
return { 1, tonumber(token) }
