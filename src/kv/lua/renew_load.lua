-- Renews the right to load a value, unless a write has ended the load.
--
-- KEYS[1]  hash    the mark of a load. token: the loader's; found: the state of the key; expires: ms of server time, or ''
-- KEYS[2]  string  the value
-- ARGV[1]  token   the caller's
-- ARGV[2]  ms      how long the mark lasts from now
--
-- Returns 1 if the mark was renewed, 0 if the load has ended.
local mark_key, value_key = KEYS[1], KEYS[2]
local token, lease = ARGV[1], ARGV[2]

local mark = redis.call('HMGET', mark_key, 'token', 'found', 'expires')
if mark[1] ~= token then
  return 0
end
if not unchanged(value_key, mark[2], mark[3]) then
  redis.call('DEL', mark_key)
  return 0
end
redis.call('PEXPIRE', mark_key, lease)
return 1
