-- Touches a session, or only reads its times.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  ms    the span from now on, or '' for the present span; '0' only reads
-- ARGV[2]  ms    the least time between two touches
-- ARGV[3]  text  '1' touches even if no touch is due
--
-- Returns the same as load.lua, with '' for the JSON, and always with the user where the session was only read; nil where there is no
-- session.
local ttl, every, always = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'

local session = find(data, messages)
if not session then
  return nil
end
if ttl == 0 then
  return row_of(session, '', true)
end
if ttl and ttl ~= session.ttl then
  session.ttl, always = ttl, true
end
return row_of(session, '', touch(session, every, always))
