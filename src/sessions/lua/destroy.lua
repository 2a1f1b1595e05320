-- Destroys a session, and leaves a mark, so that a late call does not bring the session back. A repeated call with the same token
-- returns the same.
--
-- KEYS     as in part/session.lua
-- ARGV[1]  text  token of this call, 22 characters
-- ARGV[2]  ms    for how long the mark stays, unless the session would have lasted longer
-- ARGV[3]  text  the user that the session must belong to, or '' for any
--
-- Returns 1, or 0 where there was no session, and its user, or ''.
local token, stays, user = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local mark = redis.call('GET', gone)
if mark then
  if string.sub(mark, 1, 22) ~= token then
    return { 0, '' }
  end
  return { tonumber(string.sub(mark, 24, 24)), string.sub(mark, 26) }
end
local session = find(data, messages)
if session and user ~= '' and session.user ~= user then
  return { 0, '' }
end
local owner = session and session.user or ''
local was_there = session and 1 or 0
redis.call('UNLINK', data, messages)
redis.call('SET', gone, token .. ' ' .. was_there .. ' ' .. owner, 'PX', whole(math.max(stays, session and session.ttl or 0)))
return { was_there, owner }
