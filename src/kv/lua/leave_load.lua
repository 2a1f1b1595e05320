-- Deletes the caller's mark of a load, because the load failed.
--
-- KEYS[1]  hash   the mark of a load. token: the loader's; found: the state of the key; expires: ms of server time, or ''
-- ARGV[1]  token  the caller's
--
-- Returns 1 if the mark was deleted, 0 if it no longer existed.
local mark_key = KEYS[1]
local token = ARGV[1]

if redis.call('HGET', mark_key, 'token') ~= token then
  return 0
end
redis.call('DEL', mark_key)
return 1
