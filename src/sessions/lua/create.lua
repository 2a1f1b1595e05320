-- Creates a session, unless one with its id is there or was destroyed. Asked again with the same token it gives the same answer.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  text  JSON
-- ARGV[2]  text  token: of this call, 22 characters
-- ARGV[3]  ms    the span of a touch
-- ARGV[4]  ms    the time until its absolute end; '' has none
-- ARGV[5]  text  the user, whose list has the id already; '' is nobody's
-- ARGV[6]  ms    for which time it is not taken over again; '' is not taken over from another store
--
-- Returns {'created', session …}, {'exists', session …} or {'destroyed'}; {'taken'} where it was taken over before.
local json, token, ttl, ends, user, taking = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]

if redis.call('EXISTS', gone) == 1 then
  return { 'destroyed' }
end
local session = find(data, messages, true)
if session then
  local is_mine = redis.call('HGET', data, TOKEN) == token and session.version == 1
  return { is_mine and 'created' or 'exists', told(session, session.json, false) }
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
return { 'created', told(session, json, false) }
