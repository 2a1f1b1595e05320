-- Takes the caller's mark of a load away: the load failed.
--
-- KEYS[1]  hash   the mark of a load. token: whose; found: what stood at the key; expires: ms of server time, or ''
-- ARGV[1]  token  the caller's
--
-- Returns 1 when it was taken away, 0 when it was not there any more.
local mark_key = KEYS[1]
local token = ARGV[1]

if redis.call('HGET', mark_key, 'token') ~= token then
  return 0
end
redis.call('DEL', mark_key)
return 1
