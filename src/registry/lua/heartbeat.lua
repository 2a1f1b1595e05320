-- Heartbeats of the workers of one process. A worker whose state starts with the given prefix has not changed: it costs a part of
-- one HMGET and of one ZADD. A repeated call is harmless.
--
-- ARGV[7]   0 or 1  sweep too
-- ARGV[8]   text    the process; ARGV[9] is its lag in ms, the age of its last tick in ms, its memory in bytes
-- ARGV[10]  ms      how long that is kept
-- ARGV[11]  ms      how long until the workers are late
-- ARGV[12]  count   workers without other changes, then for each of them
--   id
--   text     the start of its state if nothing changed: `<epoch> <flags> <load> `; flags are `-`, STALLED and REPORTED
-- then for each other worker
--   id, text  as above
--   number   the last command that was delivered, or '' if that is acknowledged
--   status   or '' if unchanged
--   JSON     metadata, or '' if unchanged
-- At most 1 000 of both.
--
-- Returns {now, 1 when more is due, exceptions…}, each {place among the workers from 1, 'gone' | 'superseded' | 'crashed'} or
-- {place, 'commands', '<number> <JSON>', …}.
local late_at = integer(now + tonumber(ARGV[11]))
local unchanged = tonumber(ARGV[12])
-- The place of each worker's arguments.
local places, ids = {}, {}
for place = 1, unchanged do
  places[place] = 11 + place * 2
  ids[place] = ARGV[11 + place * 2]
end
local count = unchanged
for at = 13 + unchanged * 2, #ARGV, 5 do
  count = count + 1
  places[count] = at
  ids[count] = ARGV[at]
end

-- Writes the changes of a worker. Returns the exception, if any, and whether the worker is alive.
local function change(place, text)
  local at = places[place]
  local id, prefix = ARGV[at], ARGV[at + 1]
  local acknowledged, status, metadata = '', '', ''
  if place > unchanged then
    acknowledged, status, metadata = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  end
  if not text then
    return { 'gone' }
  end
  local epoch, flag, load = match(prefix, '^(%S+) (%S+) (%S+) $')
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
  local was = snapshot(w)
  w.stalled = find(flag, STALLED, 1, true) ~= nil
  w.reported = find(flag, REPORTED, 1, true) ~= nil
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
  if w.has_commands then
    local seen, last = number(acknowledged), number(call('HGET', META, 'commands'))
    for _, command in ipairs(call('LRANGE', COMMANDS .. id, 0, -1)) do
      local place = tonumber(match(command, '^(%d+) {'))
      if place and place > seen and place <= last then
        commands[#commands + 1] = command
      else
        call('LREM', COMMANDS .. id, 1, command)
        if not place or place > last then
          note_damage('command', id)
        end
      end
    end
    w.has_commands = #commands > 0
  end
  if not commit(id, w, was, integer(now)) then
    return { 'gone' }
  end
  if #commands > 0 then
    return { 'commands', unpack(commands) }, true
  end
  return nil, true
end

local answer = { now, 0 }
local alive_scores, filled = {}, 0
if count > 0 then
  local states = call('HMGET', STATE, unpack(ids))
  for place = 1, count do
    local text = states[place]
    local alive = place <= unchanged and text and find(text, ARGV[places[place] + 1], 1, true) == 1
    if not alive then
      local exception
      exception, alive = change(place, text)
      if exception then
        table.insert(exception, 1, place)
        answer[#answer + 1] = exception
      end
    end
    if alive then
      alive_scores[filled + 1] = late_at
      alive_scores[filled + 2] = ids[place]
      filled = filled + 2
    end
  end
  if filled > 0 then
    call('ZADD', ALIVE, unpack(alive_scores))
    call('SET', PROCESS .. ARGV[8], ARGV[9], 'PX', ARGV[10])
  end
end
if ARGV[7] == '1' then
  local more = sweep(50)
  answer[2] = (start_repair_if_needed() or more) and 1 or 0
end
return done(answer)
