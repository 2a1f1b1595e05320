-- Keeps a session for another span, or looks at it.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  ms  the span from now on; '' keeps the present one; '0' only looks
-- ARGV[2]  ms    the least time between two touches
-- ARGV[3]  text  '1' touches though it is not due
--
-- Returns the same as load.lua, with '' for the JSON, and the user of a session that was only looked at; nil: there is none.
local ttl, every, always = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'

local session = find(data, messages)
if not session then
  return nil
end
if ttl == 0 then
  return told(session, '', true)
end
if ttl and ttl ~= session.ttl then
  session.ttl, always = ttl, true
end
return told(session, '', touch(session, every, always))
