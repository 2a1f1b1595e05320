-- Removes or retries several jobs of one kind; a bounded number, so that no other client waits long.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  text   which jobs are removed: 'wait', 'ranked', 'group', 'delayed', 'completed' or 'failed'; or 'retry' of failed jobs
-- ARGV[7]  count  at most
-- ARGV[8]  ms     'completed', 'failed': for how long a job has been over at least
-- ARGV[9]  prefix of the keys of dedupe ids
--
-- Returns { how many jobs and groups were read, how many jobs were removed or retried, how many messages are left in the outbox }.
local kind, most, age, once_of = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
set_listening(call('HGET', meta, 'heard'))

-- The key of the dedupe id in these options, if there is one.
local function dedupe_of(options)
  return type(options.dedupe) == 'table' and type(options.dedupe.id) == 'string' and once_of .. options.dedupe.id or nil
end

local ids, set, groups = {}, nil, 0
if kind == 'wait' then
  ids = call('LPOP', wait, most) or {}
elseif kind == 'ranked' or kind == 'delayed' then
  set = kind == 'ranked' and ranked or delayed
  ids = call('ZRANGE', set, 0, most - 1)
elseif kind == 'group' then
  -- Whole groups, and a part of the last one.
  while #ids < most and groups < most do
    local group = call('LINDEX', ring, 0)
    if group == '' then
      call('LPOP', ring)
      group = call('LINDEX', ring, 0)
    end
    local next_in_ring = group
    group = group or call('SRANDMEMBER', blocked)
    if not group then
      break
    end
    groups = groups + 1
    local key = group_of .. group
    local found = safe_call('ZRANGE', key, 0, most - #ids - 1)
    if found[1] then
      call('ZREM', key, unpack(found))
      count_up(meta, 'grouped', -#found)
      for i = 1, #found do
        ids[#ids + 1] = found[i]
      end
    end
    if call('EXISTS', key) == 0 then
      if next_in_ring then
        call('LREM', ring, 1, group)
      end
      call('SREM', blocked, group)
    end
  end
else
  set = kind == 'completed' and completed or failed
  ids = call('ZRANGEBYSCORE', set, '-inf', string.format('%.0f', now - age), 'LIMIT', 0, most)
end
local looked = #ids
if looked == 0 then
  -- Groups without jobs were read: there may be more groups.
  return { groups, 0, 0 }
end
if set then
  for from = 1, looked, 4000 do
    call('ZREM', set, unpack(ids, from, math.min(from + 3999, looked)))
  end
end

if kind == 'retry' then
  for i = 1, looked do
    local record = call('HGET', run, ids[i])
    local _, priority, group
    if record then
      _, _, _, _, priority, group = match(record, STATE)
    end
    if not group and call('HEXISTS', jobs, ids[i]) == 1 then
      -- Its record is damaged or gone.
      priority, group = '', ''
    end
    if group then
      local options, parent = read_options(call('HGET', jobs, ids[i]))
      local ending = read_parent(parent)
      ending.dedupe_key = dedupe_of(options)
      retry(ids[i], ending, priority, group)
    end
  end
  push_tail()
  wake_workers(enqueued)
  publish_events()
  return { looked, looked, messages_left }
end

if kind == 'wait' then
  ids = without_tombstones(ids)
end
local gone = {}
for i = 1, #ids do
  local id = ids[i]
  local body = call('HGET', jobs, id)
  local record = call('HGET', run, id)
  if body and not (kind == 'wait' and record and sub(record, 1, 1) ~= 'w') then
    gone[#gone + 1] = id
    emit('removed', id)
    call('HDEL', jobs, id)
    if kind == 'failed' then
      failed_job_removed(id, body)
    elseif kind ~= 'completed' then
      local options, parent = read_options(body)
      local ending = read_parent(parent)
      ending.dedupe_key = dedupe_of(options)
      job_ended(id, ending, 'r', '')
    end
  end
end
delete_jobs(gone)
push_tail()
wake_workers(enqueued)
publish_events()
return { looked, #gone, messages_left }
