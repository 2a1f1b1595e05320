-- Updates entries of a user's list. The entry of an existing session moves to the end. The entry of any other session is removed, unless
-- it is so young that its session may be about to be created.
--
-- KEYS[1]  sorted set  the user's list: session id by the ms of server time at which the session was last known to exist
-- ARGV[1]  ms     the age from which on an entry may be removed; 0 for any age
-- ARGV[2…] text   '+' and the id of a session that exists, '-' and the id of a session that does not
--
-- Returns nothing.
local list, age = KEYS[1], tonumber(ARGV[1])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for at = 2, #ARGV do
  local sign, id = string.sub(ARGV[at], 1, 1), string.sub(ARGV[at], 2)
  local seen = tonumber(redis.call('ZSCORE', list, id) or nil)
  if seen and sign == '+' then
    redis.call('ZADD', list, now, id)
  elseif seen and (age == 0 or seen <= now - age) then
    redis.call('ZREM', list, id)
  end
end
return nil
