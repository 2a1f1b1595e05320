-- Prepends a value to a list, and trims the list to its newest values.
--
-- KEYS[1]  list     the values, newest first
-- KEYS[2]  hash     the mark of a load of the value, which is deleted to end the load. Only if the expiry is short
-- ARGV[1]  bytes    the value
-- ARGV[2]  integer  how many are kept, from 1
-- ARGV[3]  ms       the list's new expiry, or '' to keep the present one
--
-- Returns how many values are kept now.
local key, mark_key = KEYS[1], KEYS[2]
local value, limit, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local length = redis.call('LPUSH', key, value)
redis.call('LTRIM', key, 0, string.format('%.0f', limit - 1))
if mark_key then
  redis.call('DEL', mark_key)
end
if ttl ~= '' then
  redis.call('PEXPIRE', key, ttl)
end
return math.min(length, limit)
