-- Adds the job of a tick and moves the schedule to its next one. Of all who ask for the same tick one does it.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- KEYS[18]  hash        schedules
-- KEYS[19]  sorted set  ticks
-- ARGV[6]   id    of the schedule
-- ARGV[7]   JSON  of the schedule, as the caller knows it
-- ARGV[8]   ms    the tick
-- ARGV[9]   ms    the tick after it
-- ARGV[10]  id    of the job
-- ARGV[11]  body  of the job
-- ARGV[12]  JSON  d: ms of delay; n: priority; g: group; l: at the head
-- ARGV[13]  ms    between ticks, where they are so many apart; else 0
--
-- Returns { now, 1 when it was done, 0 when it is not the tick's time, the schedule is another one, or it was done }.
local schedules, ticks = KEYS[18], KEYS[19]
local schedule, text, tick, following, id, body = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]

local every = tonumber(ARGV[13])
if every > 0 and tonumber(following) <= now then
  -- It took longer to come here than from one tick to the next.
  following = string.format('%.0f', following + (math.floor((now - following) / every) + 1) * every)
end
local due = call('ZSCORE', ticks, schedule)
if not due or tonumber(due) ~= tonumber(tick) or tonumber(tick) > now or tonumber(following) <= now
  or call('HGET', schedules, schedule) ~= text then
  return { now_text, 0 }
end
hear(call('HGET', meta, 'heard'))
call('ZADD', ticks, following, schedule)
local count = match(call('HGET', schedules, '\1' .. schedule) or '', ' (%d+)$') or 0
call('HSET', schedules, '\1' .. schedule, tick .. ' ' .. string.format('%.0f', tonumber(count) + 1))
if call('HEXISTS', jobs, id) == 0 then
  local with = cjson.decode(ARGV[12])
  local priority, group = with.n or 0, with.g or ''
  call('HSET', jobs, id, now_text .. ' ' .. body)
  if with.d then
    call('HSET', run, id, 'd||0|0|0|0|' .. priority .. '|' .. group .. '\n')
    put_off(id, now + with.d)
  else
    enter(id, priority, group, with.l)
  end
  if listening then
    local length, rest = match(body, '^(%d+)[^\n]*\n(.*)$')
    tell('a', id, cjson.encode({ name = sub(rest, 1, tonumber(length)) }))
  end
end
line_up()
wake(entered)
publish()
return { now_text, 1 }
