-- Reads a session, and touches it where a touch is due.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  ms  the least time between two touches, or '' for no touch
--
-- Returns version, JSON, ms of creation and of expiry, and the user whose list must get the session's entry, or ''; nil where there is no
-- session.
local every = tonumber(ARGV[1])

local session = find(data, messages, true)
if not session then
  return nil
end
local listing = every and touch(session, every)
return row_of(session, session.json, listing)
