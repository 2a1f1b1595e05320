-- Changes one job that is not active; asks for the cancellation of one that is.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- KEYS[18]  hash     cancels
-- ARGV[6]   text     'remove', 'retry', 'promote', 'delay', 'priority' or 'cancel'
-- ARGV[7]   id       of the job
-- ARGV[8]   text     the delay in ms, the priority, or the reason of a cancellation
-- ARGV[9]   integer  the priority that the job was added with
-- ARGV[10]  text     the group that it was added with, or nothing
-- ARGV[11]  JSON     what its end means, see part/kin.lua
--
-- Returns { '' when it was done, else the letter of the state it is in, or '-' where there is no such job, messages left in the outbox }.
local cancels = KEYS[18]
local verb, id, value, priority, group, ending = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]

if call('HEXISTS', jobs, id) == 0 then
  return { '-', 0 }
end
hear(call('HGET', meta, 'heard'))
local record = call('HGET', run, id)
local state, attempts, stalls = 'w', '0', '0'
if record then
  local _, own
  state, attempts, stalls, _, own, group = match(record, STATE)
  if not state then
    -- A damaged record can still be removed.
    state, attempts, stalls, group, record = 'w', '0', '0', ARGV[10], nil
  elseif own ~= '' then
    priority = own
  end
  if group == '' then
    group = ARGV[10]
  end
end
local function becomes(letter, order)
  call('HSET', run, id, letter .. '||' .. attempts .. '|' .. stalls .. '|0|0|' .. order .. '|' .. group .. '\n')
end

if verb == 'remove' then
  if state == 'a' then
    return { state, 0 }
  end
  depart(id, record)
  tell('v', id)
  if state == 'c' then
    free(id, cjson.decode(ending), 'r')
  else
    ended(id, cjson.decode(ending), 'r', '')
  end
  forget({ id })
elseif verb == 'retry' then
  if state ~= 'f' then
    return { state, 0 }
  end
  depart(id, record)
  revive(id, cjson.decode(ending), priority, group)
elseif verb == 'promote' then
  if state ~= 'd' then
    return { state, 0 }
  end
  depart(id, record)
  becomes('w', priority)
  enter(id, tonumber(priority), group, false)
elseif verb == 'delay' then
  if state ~= 'd' and state ~= 'w' then
    return { state, 0 }
  end
  depart(id, record)
  becomes('d', priority)
  put_off(id, now + tonumber(value))
elseif verb == 'priority' then
  if state == 'd' or state == 'k' then
    becomes(state, value)
  elseif state == 'w' then
    depart(id, record)
    becomes('w', value)
    enter(id, tonumber(value), group, false)
  else
    return { state, 0 }
  end
else
  if state == 'a' then
    local lease = match(record, '^a|([^|]*)|')
    call('HSET', cancels, id, lease .. '\n' .. value)
    call('PUBLISH', wake_of .. (match(lease, '^(.*)%.') or ''), 'c')
    return { '', 0 }
  end
  if state == 'c' or state == 'f' then
    return { state, 0 }
  end
  if value == '' then
    value = 'cancelled'
  end
  depart(id, record)
  ended(id, cjson.decode(ending), fail(id, attempts, stalls, priority, group, value), value)
end
line_up()
wake(entered)
publish()
return { '', mailed }
