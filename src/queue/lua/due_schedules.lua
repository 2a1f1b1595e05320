-- Reads the schedules that are due, and when the next one is.
--
-- KEYS[1]  hash        schedules
-- KEYS[2]  sorted set  ticks
--
-- Returns { now, ms of the earliest tick or -1, { id, tick, JSON of the schedule … } }.
local schedules, ticks = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))

local first = redis.call('ZRANGE', ticks, 0, 0, 'WITHSCORES')[2] or '-1'
local due = redis.call('ZRANGEBYSCORE', ticks, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 50)
local found = {}
for i = 1, #due, 2 do
  local n = #found
  found[n + 1], found[n + 2], found[n + 3] = due[i], due[i + 1], redis.call('HGET', schedules, due[i]) or ''
end
return { now, first, found }
