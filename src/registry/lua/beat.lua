-- Heartbeats of workers of one process. One whose state begins as expected has changed in nothing: it costs its part of one
-- HMGET and one ZADD. Sent twice it does no harm.
--
-- ARGV[7]   0 or 1  sweep too
-- ARGV[8]   text    the process, and in ARGV[9] its lag in ms, the age of its last tick in ms, its memory in bytes
-- ARGV[10]  ms      how long that is kept
-- ARGV[11]  ms      how long until the workers are late
-- ARGV[12]  count   of workers of which nothing else is to be said, then for each of them
--   id
--   text     how its state begins if nothing changed: `<epoch> <flags> <load> `; flags are `-` or of s and r
-- then for each other worker
--   id, text  as above
--   number   the last command it was given, or '' for none since it said so
--   status   or '' for what it is
--   JSON     metadata, or '' for what they are
-- At most 1 000 of both.
--
-- Returns {now, more is due, exceptions…}, each {place among the workers from 1, 'gone' | 'superseded' | 'crashed'} or
-- {place, 'commands', number and JSON, space between, …}.
local late_at = whole(now + tonumber(ARGV[11]))
local plain = tonumber(ARGV[12])
-- Where each worker's arguments begin.
local places, ids = {}, {}
for place = 1, plain do
  places[place] = 11 + place * 2
  ids[place] = ARGV[11 + place * 2]
end
local count = plain
for at = 13 + plain * 2, #ARGV, 5 do
  count = count + 1
  places[count] = at
  ids[count] = ARGV[at]
end

-- Does what changed. Returns the exception, and whether the worker is alive.
local function change(place, text)
  local at = places[place]
  local id, expected = ARGV[at], ARGV[at + 1]
  local acknowledged, status, metadata = '', '', ''
  if place > plain then
    acknowledged, status, metadata = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  end
  if not text then
    return { 'gone' }
  end
  local epoch, flag, load = match(expected, '^(%S+) (%S+) (%S+) $')
  local w = worker(id, text)
  if not w then
    return { 'gone' }
  end
  if w.epoch ~= epoch then
    return { 'superseded' }
  end
  if w.crashed then
    return { 'crashed' }
  end
  local was = view(w)
  w.stalled = find(flag, 's', 1, true) ~= nil
  w.reported = find(flag, 'r', 1, true) ~= nil
  w.load = load
  if w.late then
    call('ZREM', LATE, id)
    w.late = false
  end
  if status ~= '' then
    w.status = status
  end
  if metadata == '{}' then
    call('HDEL', METADATA, id)
  elseif metadata ~= '' then
    call('HSET', METADATA, id, metadata)
  end
  local commands = {}
  if w.mail then
    local seen, last = number(acknowledged), number(call('HGET', META, 'commands'))
    for _, command in ipairs(call('LRANGE', COMMANDS .. id, 0, -1)) do
      local place = tonumber(match(command, '^(%d+) {'))
      if place and place > seen and place <= last then
        commands[#commands + 1] = command
      else
        call('LREM', COMMANDS .. id, 1, command)
        if not place or place > last then
          note('command', id)
        end
      end
    end
    w.mail = #commands > 0
  end
  if not commit(id, w, was, whole(now)) then
    return { 'gone' }
  end
  if #commands > 0 then
    return { 'commands', unpack(commands) }, true
  end
  return nil, true
end

local answer = { now, 0 }
local fresh, filled = {}, 0
if count > 0 then
  local states = call('HMGET', STATE, unpack(ids))
  for place = 1, count do
    local text = states[place]
    local alive = place <= plain and text and find(text, ARGV[places[place] + 1], 1, true) == 1
    if not alive then
      local exception
      exception, alive = change(place, text)
      if exception then
        table.insert(exception, 1, place)
        answer[#answer + 1] = exception
      end
    end
    if alive then
      fresh[filled + 1] = late_at
      fresh[filled + 2] = ids[place]
      filled = filled + 2
    end
  end
  if filled > 0 then
    call('ZADD', ALIVE, unpack(fresh))
    call('SET', PROCESS .. ARGV[8], ARGV[9], 'PX', ARGV[10])
  end
end
if ARGV[7] == '1' then
  local more = sweep(50)
  answer[2] = (look_after() or more) and 1 or 0
end
return done(answer)
