-- Adds a message to a session, and keeps the newest `limit` messages. A repeated call with the same token, among the last 16 calls,
-- returns the same.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  text   token of this call, 22 characters
-- ARGV[2]  text   the message, JSON
-- ARGV[3]  count  limit
-- ARGV[4]  ms     the least time between two touches
--
-- Returns how many messages there are, 0 where there is no session, and the user whose list must get the session's entry, or ''.
local token, message, limit, every = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local session = find(data, messages)
if not session then
  return { 0, '' }
end
local appended = redis.call('HGET', data, APPENDED) or ''
if string.find(appended, token, 1, true) then
  return { redis.call('LLEN', messages), '' }
end
redis.call('LPUSH', messages, message)
redis.call('LTRIM', messages, 0, limit - 1)
redis.call('HSET', data, APPENDED, string.sub(token .. appended, 1, TOKENS_KEPT))
redis.call('PEXPIREAT', messages, whole(session.expires))
local listing = touch(session, every)
return { redis.call('LLEN', messages), listing and session.user or '' }
