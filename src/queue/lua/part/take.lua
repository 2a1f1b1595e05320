-- Takes waiting jobs: those whose delay has passed line up first; then the list, then the ranked; with groups in turn.
local claimed = {}
local starts, holds = {}, {}
local taken = 0

local function promote()
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
      mended()
      state, attempts, stalls, priority, group = 'd', '0', '0', '', ''
    end
    if state == 'd' then
      local n = #records
      records[n + 1] = due[i]
      records[n + 2] = 'w||' .. attempts .. '|' .. stalls .. '|0|0|' .. priority .. '|' .. group .. '\n'
      enter(due[i], tonumber(priority) or 0, group, false)
    end
  end
  if records[1] then
    call('HSET', run, unpack(records))
  end
end

-- Marks those of `ids` that wait as held by `lease`.
local haunted = false
local seen = {}
local function admit(ids, lease)
  local bodies = call('HMGET', jobs, unpack(ids))
  local present = call('HMGET', run, unpack(ids))
  for i = 1, #ids do
    local id, body, record = ids[i], bodies[i], present[i]
    local state, attempts, stalls, priority, group, _ = 'w', '0', '0', '', ''
    if record then
      state, attempts, stalls, _, priority, group = match(record, STATE)
      if not state or #attempts > 9 or #stalls > 9 or #priority > 9 then
        -- A damaged record must not keep the job from being worked on.
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
      -- A first attempt may have one that was noted from outside; only the others are worth a look.
      claimed[n + 4] = record and call('HGET', more, 'p' .. id) or ''
      holds[taken] = id
      starts[taken * 2 - 1] = id
      starts[taken * 2] = 'a|' .. lease .. '|' .. attempts .. '|' .. stalls .. '|' .. now_text .. '|0|' .. priority .. '|' .. group .. '\n'
      tell('x', id)
    end
  end
end

-- So many more names are taken from the list that are no jobs which wait, and groups from the ring of which no job may run: one script must
-- not go through any number of them.
local looks = 500
local function take_plain(count, lease)
  local goal = taken + count
  while true do
    if taken >= goal or looks <= 0 then
      return
    end
    local ids = call('LPOP', wait, goal - taken)
    if not ids or not ids[1] then
      break
    end
    local before = taken + #ids
    if haunted then
      ids = living(ids)
    end
    if ids[1] then
      admit(ids, lease)
    end
    looks = looks - (before - taken)
  end
  if taken < goal then
    local found = call('ZPOPMIN', ranked, goal - taken)
    local ids = {}
    for i = 1, #found, 2 do
      ids[#ids + 1] = found[i]
    end
    if ids[1] then
      admit(ids, lease)
    end
  end
end

-- One job of each group in turn, one without a group in its turn, until `count` are taken or nothing waits that may run.
local function take_in_turn(count, lease, limit)
  local goal = taken + count
  local fruitless = 0
  while taken < goal and looks > 0 do
    local group = call('LPOP', ring)
    if not group then
      return take_plain(goal - taken, lease)
    end
    local before = taken
    if group == '' then
      take_plain(1, lease)
      if call('EXISTS', ring) == 1 then
        call('RPUSH', ring, '')
      end
    elseif limit > 0 and (whole(call('HGET', busy, group)) or 0) >= limit then
      call('SADD', blocked, group)
    else
      local key = group_of .. group
      local found = own('ZPOPMIN', key)
      if found[1] then
        count_up(meta, 'grouped', -1)
        admit({ found[1] }, lease)
        if taken > before then
          count_up(busy, group, 1)
        end
        if call('EXISTS', key) == 1 then
          call('RPUSH', ring, group)
        end
      end
    end
    if taken == before then
      looks = looks - 1
      fruitless = fruitless + 1
      if fruitless > call('LLEN', ring) + 1 then
        return
      end
    else
      fruitless = 0
    end
  end
end
