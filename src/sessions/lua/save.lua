-- Replaces what is kept in a session, if it is the version that the caller has seen. Asked again with the same version and JSON it
-- gives the same answer.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  count  the version
-- ARGV[2]  ms     when that session was created: another one of the same id is not it
-- ARGV[3]  text   JSON
-- ARGV[4]  ms     the span from now on; '' keeps the present one
-- ARGV[5]  ms     the least time between two writes into the list of its user
--
-- Returns {'saved', session …}; {'changed', session …} with what somebody else has saved; {'destroyed'}; {'gone'} where it has
-- expired or was lost.
local version, created, json, ttl, every = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local session = find(data, messages)
if not session or session.created ~= created then
  return { redis.call('EXISTS', gone) == 1 and 'destroyed' or 'gone' }
end
if session.version ~= version then
  local present = redis.call('HGET', data, JSON)
  local is_saved = session.version == version + 1 and present == json
  return { is_saved and 'saved' or 'changed', told(session, present, false) }
end
session.version, session.ttl = version + 1, ttl or session.ttl
redis.call('HSET', data, JSON, json, VERSION, whole(session.version))
return { 'saved', told(session, '', touch(session, every, true)) }
