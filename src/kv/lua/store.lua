-- Stores a loaded value unless a write has ended the caller's load: the mark must exist, and the key must be unchanged since the
-- load started. The script always ends the load.
--
-- KEYS[1]  string  the value
-- KEYS[2]  hash    the mark of a load. token: the loader's; found: the state of the key; expires: ms of server time, or ''
-- ARGV[1]  token   the caller's
-- ARGV[2]  bytes   the loaded value
-- ARGV[3]  ms      its expiry
--
-- Returns 1 if the value was stored, else 0.
local value_key, mark_key = KEYS[1], KEYS[2]
local token, value, ttl = ARGV[1], ARGV[2], ARGV[3]

local mark = redis.call('HMGET', mark_key, 'token', 'found', 'expires')
if mark[1] ~= token then
  return 0
end
local valid = unchanged(value_key, mark[2], mark[3])
redis.call('DEL', mark_key)
if not valid then
  return 0
end
redis.call('SET', value_key, value, 'PX', ttl)
return 1
