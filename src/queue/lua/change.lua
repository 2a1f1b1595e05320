-- Changes one job that is not active, or requests the cancellation of an active one.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- KEYS[18]  hash     cancels
-- ARGV[6]   text     'remove', 'retry', 'promote', 'delay', 'priority' or 'cancel'
-- ARGV[7]   id       of the job
-- ARGV[8]   text     the delay in ms, the priority, or the reason of a cancellation
-- ARGV[9]   integer  the priority that the job was added with
-- ARGV[10]  text     the group that it was added with, or nothing
-- ARGV[11]  JSON     its ending, see part/parents.lua
--
-- Returns { '' where the job was changed, the letter of its state where that forbids the change, '-' where there is no such job; how many
-- messages are left in the outbox }.
local cancels = KEYS[18]
local verb, id, value, priority, group, ending = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ending_of(cjson.decode(ARGV[11]))

if call('HEXISTS', jobs, id) == 0 then
  return { '-', 0 }
end
set_listening(call('HGET', meta, 'heard'))
local record = call('HGET', run, id)
local state, attempts, stalls = 'w', '0', '0'
if record then
  local _, own
  state, attempts, stalls, _, own, group = match(record, STATE)
  if not state then
    -- A job with a damaged record can still be removed.
    state, attempts, stalls, group, record = 'w', '0', '0', ARGV[10], nil
  elseif own ~= '' then
    priority = own
  end
  if group == '' then
    group = ARGV[10]
  end
end
local function set_state(new_state, new_priority)
  call('HSET', run, id, new_state .. '||' .. attempts .. '|' .. stalls .. '|0|0|' .. new_priority .. '|' .. group .. '\n')
end

if verb == 'remove' then
  if state == 'a' then
    return { state, 0 }
  end
  remove_from_state(id, record)
  emit('removed', id)
  if state == 'c' then
    release_dedupe(id, ending, 'r')
  else
    job_ended(id, ending, 'r', '')
  end
  delete_jobs({ id })
elseif verb == 'retry' then
  if state ~= 'f' then
    return { state, 0 }
  end
  remove_from_state(id, record)
  retry(id, ending, priority, group)
elseif verb == 'promote' then
  if state ~= 'd' then
    return { state, 0 }
  end
  remove_from_state(id, record)
  set_state('w', priority)
  enqueue(id, tonumber(priority), group, false)
elseif verb == 'delay' then
  if state ~= 'd' and state ~= 'w' then
    return { state, 0 }
  end
  remove_from_state(id, record)
  set_state('d', priority)
  delay(id, now + tonumber(value))
elseif verb == 'priority' then
  if state == 'd' or state == 'k' then
    set_state(state, value)
  elseif state == 'w' then
    remove_from_state(id, record)
    set_state('w', value)
    enqueue(id, tonumber(value), group, false)
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
  remove_from_state(id, record)
  job_ended(id, ending, fail_job(id, attempts, stalls, priority, group, value), value)
end
push_tail()
wake_workers(enqueued)
publish_events()
return { '', messages_left }
