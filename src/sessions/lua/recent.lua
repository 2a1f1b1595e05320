-- Reads the newest messages of a session.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  count  how many
--
-- Returns the messages, newest first; none where there is no session.
local limit = tonumber(ARGV[1])

if not find(data, messages) then
  return {}
end
return redis.call('LRANGE', messages, 0, limit - 1)
