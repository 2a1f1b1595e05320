-- Claims waiting jobs: first those of the list, then those with priorities; with groups, one of each group in turn.

-- For the worker: id, job, 'attempts|stalls|priority' or '', progress or '' of each claimed job.
local claimed = {}
-- For `run` and the set of held ids.
local starts, holds = {}, {}
local taken = 0

-- Enqueues up to 100 jobs whose delay has passed.
local function promote_delayed()
  local due = call('ZRANGEBYSCORE', delayed, '-inf', now_text, 'LIMIT', 0, 100)
  if not due[1] then
    return
  end
  call('ZREM', delayed, unpack(due))
  local present = call('HMGET', run, unpack(due))
  local records = {}
  for i = 1, #due do
    local state, attempts, stalls, priority, group, _
    if present[i] then
      state, attempts, stalls, _, priority, group = match(present[i], STATE)
    end
    if not state and call('HEXISTS', jobs, due[i]) == 1 then
      -- Its record is damaged or gone.
      count_damage()
      state, attempts, stalls, priority, group = 'd', '0', '0', '', ''
    end
    if state == 'd' then
      local n = #records
      records[n + 1] = due[i]
      records[n + 2] = 'w||' .. attempts .. '|' .. stalls .. '|0|0|' .. priority .. '|' .. group .. '\n'
      enqueue(due[i], tonumber(priority) or 0, group, false)
    end
  end
  if records[1] then
    call('HSET', run, unpack(records))
  end
end

-- True where ids in the list may have tombstones.
local has_tombstones = false
local seen = {}
-- Makes those of `ids` that wait active under `lease`.
local function activate(ids, lease)
  local bodies = call('HMGET', jobs, unpack(ids))
  local present = call('HMGET', run, unpack(ids))
  for i = 1, #ids do
    local id, body, record = ids[i], bodies[i], present[i]
    local state, attempts, stalls, priority, group, _ = 'w', '0', '0', '', ''
    if record then
      state, attempts, stalls, _, priority, group = match(record, STATE)
      if not state or #attempts > 9 or #stalls > 9 or #priority > 9 then
        -- A job with a damaged record is claimed like a new one.
        state, attempts, stalls, priority, group = 'w', '0', '0', '', ''
      end
    end
    if body and state == 'w' and not seen[id] then
      seen[id] = true
      taken = taken + 1
      local n = #claimed
      claimed[n + 1] = id
      claimed[n + 2] = body
      claimed[n + 3] = record and (attempts .. '|' .. stalls .. '|' .. priority) or ''
      -- Jobs rarely have progress before their first attempt: it is read for later attempts only.
      claimed[n + 4] = record and call('HGET', more, 'p' .. id) or ''
      holds[taken] = id
      starts[taken * 2 - 1] = id
      starts[taken * 2] = 'a|' .. lease .. '|' .. attempts .. '|' .. stalls .. '|' .. now_text .. '|0|' .. priority .. '|' .. group .. '\n'
      emit('active', id)
    end
  end
end

-- How many more entries may be taken in vain: ids of no waiting job from the list, groups without a job that may run from the ring. This
-- bounds how long one script takes.
local budget = 500
local function claim_ungrouped(count, lease)
  local goal = taken + count
  while true do
    if taken >= goal or budget <= 0 then
      return
    end
    local ids = call('LPOP', wait, goal - taken)
    if not ids or not ids[1] then
      break
    end
    local before = taken + #ids
    if has_tombstones then
      ids = without_tombstones(ids)
    end
    if ids[1] then
      activate(ids, lease)
    end
    budget = budget - (before - taken)
  end
  if taken < goal then
    local found = call('ZPOPMIN', ranked, goal - taken)
    local ids = {}
    for i = 1, #found, 2 do
      ids[#ids + 1] = found[i]
    end
    if ids[1] then
      activate(ids, lease)
    end
  end
end

-- Claims one job of each group in turn; the jobs without a group count as one group. Ends with `count` jobs, or where no waiting job may run.
local function claim_grouped(count, lease, limit)
  local goal = taken + count
  local fruitless = 0
  while taken < goal and budget > 0 do
    local group = call('LPOP', ring)
    if not group then
      return claim_ungrouped(goal - taken, lease)
    end
    local before = taken
    if group == '' then
      claim_ungrouped(1, lease)
      if call('EXISTS', ring) == 1 then
        call('RPUSH', ring, '')
      end
    elseif limit > 0 and (whole(call('HGET', busy, group)) or 0) >= limit then
      call('SADD', blocked, group)
    else
      local key = group_of .. group
      local found = safe_call('ZPOPMIN', key)
      if found[1] then
        count_up(meta, 'grouped', -1)
        activate({ found[1] }, lease)
        if taken > before then
          count_up(busy, group, 1)
        end
        if call('EXISTS', key) == 1 then
          call('RPUSH', ring, group)
        end
      end
    end
    if taken == before then
      budget = budget - 1
      fruitless = fruitless + 1
      if fruitless > call('LLEN', ring) + 1 then
        return
      end
    else
      fruitless = 0
    end
  end
end
