-- Reads a session, and keeps it for another span where that is due.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  ms  the least time between two touches; '' does not touch
--
-- Returns version, JSON, ms of creation and of expiry, and the user whose list is to be told of it, or ''. nil: there is none.
local every = tonumber(ARGV[1])

local session = find(data, messages, true)
if not session then
  return nil
end
local listing = every and touch(session, every)
return told(session, session.json, listing)
