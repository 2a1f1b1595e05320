-- Stores a loaded value if the caller is still the one who loads it, who then no longer is.
--
-- KEYS[1]  string  the value
-- KEYS[2]  string  the token of who loads it
-- ARGV[1]  token   the caller's
-- ARGV[2]  bytes   the loaded value
-- ARGV[3]  ms      its expiry
--
-- Returns 1 when it was stored, else 0.
local value_key, loader_key = KEYS[1], KEYS[2]
local token, value, ttl = ARGV[1], ARGV[2], ARGV[3]

if redis.call('GET', loader_key) ~= token then
  return 0
end
redis.call('SET', value_key, value, 'PX', ttl)
redis.call('DEL', loader_key)
return 1
