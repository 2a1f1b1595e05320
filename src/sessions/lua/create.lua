-- Creates a session, unless a session with its id exists or was destroyed. A repeated call with the same token returns the same.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  text  JSON
-- ARGV[2]  text  token of this call, 22 characters
-- ARGV[3]  ms    the span of a touch
-- ARGV[4]  ms    the time until its absolute end, or '' for none
-- ARGV[5]  text  the user, whose list has the id already, or '' for none
-- ARGV[6]  ms    for a session from another store: for how long it is not taken over again; '' for any other session
--
-- Returns {'created', session …}, {'exists', session …} or {'destroyed'}; {'taken'} where the session was taken over before.
local json, token, ttl, ends, user, taking = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]

if redis.call('EXISTS', gone) == 1 then
  return { 'destroyed' }
end
local session = find(data, messages, true)
if session then
  local is_mine = redis.call('HGET', data, TOKEN) == token and session.version == 1
  return { is_mine and 'created' or 'exists', row_of(session, session.json, false) }
end
if taking ~= '' then
  if redis.call('EXISTS', taken) == 1 then
    return { 'taken' }
  end
  redis.call('SET', taken, '1', 'PX', taking)
end
session = { version = 1, created = now, ttl = ttl, ends = ends and now + ends, listed = now }
session.expires = now + span(session)
redis.call('UNLINK', data, messages)
redis.call('HSET', data, JSON, json, VERSION, '1', CREATED, whole(now), EXPIRES, whole(session.expires))
redis.call('HSET', data, TTL, whole(ttl), TOKEN, token, LISTED, whole(now))
if ends then
  redis.call('HSET', data, ENDS, whole(session.ends))
end
if user ~= '' then
  redis.call('HSET', data, USER, user)
end
redis.call('PEXPIREAT', data, whole(session.expires))
return { 'created', row_of(session, json, false) }
