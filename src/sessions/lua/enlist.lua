-- Writes the entry of a session into the list of its user, and says which entries must be checked.
--
-- KEYS[1]  sorted set  the user's list: session id by the ms of server time at which the session was last known to exist
-- ARGV[1]  text   the session's id
-- ARGV[2]  ms     the least time for which the list stays
-- ARGV[3]  ms     the age from which on an entry is checked
-- ARGV[4]  count  how many entries are checked
--
-- Returns the ids of the oldest entries that have this age.
local list = KEYS[1]
local id, ttl, age, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', list, now, id)
if redis.call('PTTL', list) < ttl then
  redis.call('PEXPIRE', list, string.format('%.0f', ttl))
end
return redis.call('ZRANGEBYSCORE', list, '-inf', string.format('%.0f', now - age), 'LIMIT', 0, count)
