-- Replaces or deletes a value if it is still the value that the caller has read.
--
-- KEYS[1]  string  the value
-- KEYS[2]  hash    the mark of a load of the value, which is deleted to end the load. Only if the key may be absent soon
-- ARGV[1]  text    what is expected: 'equal' or 'absent'
-- ARGV[2]  bytes   the expected value, for 'equal'
-- ARGV[3]  text    what to do: 'set' or 'delete'
-- ARGV[4]  bytes   the next value, for 'set'
-- ARGV[5]  text    the expiry, for 'set': 'keep', 'none' or a number of milliseconds
--
-- Returns 1 if the value was replaced or deleted, 0 if there is a value and none was expected, nil if there is no value and one
-- was expected, else the stored value.
local key, mark_key = KEYS[1], KEYS[2]
local expectation, expected, act, next, expiry = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local stored = redis.call('GET', key)
if expectation == 'absent' then
  if stored then
    return 0
  end
elseif stored ~= expected then
  return stored
end

if mark_key then
  redis.call('DEL', mark_key)
end
if act == 'delete' then
  redis.call('DEL', key)
elseif expiry == 'keep' then
  redis.call('SET', key, next, 'KEEPTTL')
elseif expiry == 'none' then
  redis.call('SET', key, next)
else
  redis.call('SET', key, next, 'PX', expiry)
end
return 1
