-- Messages that this queue accepted were deleted from their outbox: from now on they are remembered for a short time only.
--
-- KEYS[1]  sorted set  inbox: messages that were accepted, by until when that is remembered, ms
-- ARGV[1]  ms          how long they are remembered from now
-- ARGV[2…] messages
--
-- Returns how many are remembered.
local inbox = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local ends = string.format('%.0f', now + tonumber(ARGV[1]))
for at = 2, #ARGV do
  redis.call('ZADD', inbox, 'XX', ends, ARGV[at])
end
redis.call('ZREMRANGEBYSCORE', inbox, '-inf', string.format('%.0f', now))
return redis.call('ZCARD', inbox)
