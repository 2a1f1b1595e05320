-- Reads a cached value and says whether it is fresh. Writes nothing.
--
-- KEYS[1]  string  the value
-- KEYS[2]  hash    the mark of a load. Only with ARGV[2]
-- ARGV[1]  ms      a value is stale if at most this much of its time is left
-- ARGV[2]  token   of a load in the caller's process, if there is one
--
-- Returns {'fresh', value} or {'stale', value}. If there is no value: {'loading'} if the value of that load would still be stored,
-- else nil.
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
