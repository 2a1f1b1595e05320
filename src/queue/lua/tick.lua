-- Adds the job of a tick, and moves the schedule to its next tick. Of all workers that ask for the same tick, one does it.
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
-- ARGV[12]  JSON  d, n, g and l, see part/base.lua
-- ARGV[13]  ms    between ticks, where the schedule is an interval; else 0
--
-- Returns { now, 1; or 0 where the tick is not due, the schedule was changed, or the tick was done before }.
local schedules, ticks = KEYS[18], KEYS[19]
local schedule, text, tick, following, id, body = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]

local every = tonumber(ARGV[13])
if every > 0 and tonumber(following) <= now then
  -- The script came later than the tick after this one.
  following = string.format('%.0f', following + (math.floor((now - following) / every) + 1) * every)
end
local due = call('ZSCORE', ticks, schedule)
if not due or tonumber(due) ~= tonumber(tick) or tonumber(tick) > now or tonumber(following) <= now
  or call('HGET', schedules, schedule) ~= text then
  return { now_text, 0 }
end
set_listening(call('HGET', meta, 'heard'))
call('ZADD', ticks, following, schedule)
local count = match(call('HGET', schedules, '\1' .. schedule) or '', ' (%d+)$') or 0
call('HSET', schedules, '\1' .. schedule, tick .. ' ' .. string.format('%.0f', tonumber(count) + 1))
if call('HEXISTS', jobs, id) == 0 then
  local fields = cjson.decode(ARGV[12])
  local priority, group = fields.n or 0, fields.g or ''
  call('HSET', jobs, id, now_text .. ' ' .. body)
  if fields.d then
    call('HSET', run, id, 'd||0|0|0|0|' .. priority .. '|' .. group .. '\n')
    delay(id, now + fields.d)
  else
    enqueue(id, priority, group, fields.l)
  end
  if listening then
    local length, rest = match(body, '^(%d+)[^\n]*\n(.*)$')
    emit('added', id, cjson.encode({ name = sub(rest, 1, tonumber(length)) }))
  end
end
push_tail()
wake_workers(enqueued)
publish_events()
return { now_text, 1 }
