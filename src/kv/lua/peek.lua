-- Reads a cached value and says whether it is fresh. Writes nothing.
--
-- KEYS[1]  string  the value
-- ARGV[1]  ms      a value is stale when it has at most this much left
--
-- Returns nil, {'fresh', value} or {'stale', value}.
local key = KEYS[1]
local stale = tonumber(ARGV[1])

local value = redis.call('GET', key)
if not value then
  return false
end
local left = redis.call('PTTL', key)
if left == -1 or left > stale then
  return { 'fresh', value }
end
return { 'stale', value }
