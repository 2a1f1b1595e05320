-- Writes a schedule. Where its times are unchanged it keeps its next tick.
--
-- KEYS[1]  hash        schedules: by id, JSON; '\1' and id: '<last tick ms> <ticks>'
-- KEYS[2]  sorted set  ticks
-- ARGV[1]  id          of the schedule
-- ARGV[2]  JSON        of the schedule
-- ARGV[3]  JSON        of when it ticks, as a part of the schedule
-- ARGV[4]  ms          its next tick; below 0: the negated time from now
-- ARGV[5]  channel     of all workers
--
-- Returns { ms of its next tick }.
local TICK = 't'
local schedules, ticks = KEYS[1], KEYS[2]
local id, text, when, next_tick, channel = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local present = redis.call('HGET', schedules, id)
local tick = present and redis.call('ZSCORE', ticks, id)
if tick and not string.match(tick, '^%d+$') then
  tick = nil
end
if not tick or not string.find(present, when, 1, true) then
  if next_tick < 0 then
    next_tick = now - next_tick
  end
  tick = string.format('%.0f', next_tick)
end
redis.call('HSET', schedules, id, text)
redis.call('ZADD', ticks, tick, id)
redis.call('PUBLISH', channel, TICK .. tick)
return { tick }
