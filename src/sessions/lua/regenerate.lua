-- Gives a session another id, and destroys the old id. A repeated call with the same token returns the same.
--
-- KEYS[1..4]  as in part/session.lua, of the old id
-- KEYS[5..8]  the same keys of the new id, in the same slot
-- ARGV[1]  text  token of this call, 22 characters
-- ARGV[2]  ms    for how long the mark of the old id stays, unless the session would have lasted longer
--
-- Returns the same as load.lua; nil where there is no session.
local next_data, next_messages = KEYS[5], KEYS[6]
local token, stays = ARGV[1], tonumber(ARGV[2])

local mark = redis.call('GET', gone)
if mark then
  local session = string.sub(mark, 1, 22) == token and find(next_data, next_messages, true)
  return session and row_of(session, session.json, false) or nil
end
local session = find(data, messages, true)
if not session then
  return nil
end
session.version = session.version + 1
redis.call('RENAME', data, next_data)
redis.call('HSET', next_data, VERSION, whole(session.version), LISTED, whole(now))
if redis.call('EXISTS', messages) == 1 then
  redis.call('RENAME', messages, next_messages)
end
redis.call('SET', gone, token .. ' 1 ' .. (session.user or ''), 'PX', whole(math.max(stays, session.ttl)))
return row_of(session, session.json, false)
