-- Says of entries of a user's list whether they are there: those that are go to its end, those that are not leave it, unless they are
-- so young that the session may be about to be created.
--
-- KEYS[1]  sorted set  the user's list: session id by the ms of server time at which it was last known to be there
-- ARGV[1]  ms     the age from which an entry may leave; 0 is any
-- ARGV[2…] text   '+' and the id of a session that is there, '-' and that of one that is not
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
