-- Replaces the JSON of a session, if the session has the version that the caller has seen. A repeated call with the same version and
-- JSON returns the same.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  count  the version
-- ARGV[2]  ms     when the session was created; a later session with the same id has another time
-- ARGV[3]  text   JSON
-- ARGV[4]  ms     the span from now on, or '' for the present span
-- ARGV[5]  ms     the least time between two writes into the list of its user
--
-- Returns {'saved', session …}; {'changed', session …} with the present session where another caller has saved it; {'destroyed'};
-- {'gone'} where the session has expired or was lost.
local version, created, json, ttl, every = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local session = find(data, messages)
if not session or session.created ~= created then
  return { redis.call('EXISTS', gone) == 1 and 'destroyed' or 'gone' }
end
if session.version ~= version then
  local present = redis.call('HGET', data, JSON)
  local is_saved = session.version == version + 1 and present == json
  return { is_saved and 'saved' or 'changed', row_of(session, present, false) }
end
session.version, session.ttl = version + 1, ttl or session.ttl
redis.call('HSET', data, JSON, json, VERSION, whole(session.version))
return { 'saved', row_of(session, '', touch(session, every, true)) }
