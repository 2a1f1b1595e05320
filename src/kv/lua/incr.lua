-- Adds to a counter. A counter that did not exist gets an expiry.
--
-- KEYS[1]  string   the counter
-- KEYS[2]  hash     the mark of a load of the value, which is deleted to end the load. Only if the expiry is short
-- ARGV[1]  integer  the summand
-- ARGV[2]  ms       the expiry of a new counter
--
-- Returns the new value. If the value is no integer, INCRBY fails and nothing is changed.
local key, mark_key = KEYS[1], KEYS[2]
local by, ttl = ARGV[1], ARGV[2]

local created = redis.call('EXISTS', key) == 0
local value = redis.call('INCRBY', key, by)
if mark_key then
  redis.call('DEL', mark_key)
end
if created then
  redis.call('PEXPIRE', key, ttl)
end
return value
