-- Reads a cached value and says whether it is fresh. Writes nothing.
--
-- KEYS[1]  string  the value
-- KEYS[2]  hash    the mark of a load. Only with ARGV[2]
-- ARGV[1]  ms      a value is stale when it has at most this much left
-- ARGV[2]  token   of a load of the caller's process, if one is under way
--
-- Returns {'fresh', value}, {'stale', value}; where there is no value {'loading'} if that load is still the one whose value
-- would be stored, else nil.
local key, mark_key = KEYS[1], KEYS[2]
local stale, token = tonumber(ARGV[1]), ARGV[2]

local value = redis.call('GET', key)
if not value then
  if token and redis.call('HGET', mark_key, 'token') == token then
    return { 'loading' }
  end
  return false
end
local left = redis.call('PTTL', key)
if left == -1 or left > stale then
  return { 'fresh', value }
end
return { 'stale', value }
