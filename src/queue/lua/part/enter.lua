-- Where a job waits: at the tail of the list, or at its head; with a priority in the sorted set; with a group in the group's.
-- Ids for the tail are collected and pushed together by `line_up`.
local RANK = 4294967296
local tail = {}
local entered = 0
-- Do jobs of groups wait?
local grouped = false
local function enter(id, priority, group, first)
  entered = entered + 1
  if group ~= '' then
    local order = call('HINCRBY', meta, 'order', 1)
    if first then
      order = -order
    end
    local key = group_of .. group
    grouped = true
    call('ZADD', key, string.format('%.0f', priority * RANK + order), id)
    call('HINCRBY', meta, 'grouped', 1)
    if call('ZCARD', key) == 1 and call('SISMEMBER', blocked, group) == 0 and call('RPUSH', ring, group) == 1 then
      call('RPUSH', ring, '')
    end
  elseif priority > 0 then
    local order = first and 0 or call('HINCRBY', meta, 'order', 1)
    call('ZADD', ranked, string.format('%.0f', priority * RANK + order), id)
  elseif first then
    call('LPUSH', wait, id)
  else
    tail[#tail + 1] = id
  end
end
local function line_up()
  for from = 1, #tail, 4000 do
    call('RPUSH', wait, unpack(tail, from, math.min(from + 3999, #tail)))
  end
  tail = {}
end
-- A job that leaves the list before its turn stays in it as a ghost: taking it out would cost more the more wait. `more` counts
-- the ghosts of an id, `gone` in `meta` all of them; each cancels one name in the list, the first that comes.
local function haunt(id)
  call('HINCRBY', more, 'g' .. id, 1)
  call('HINCRBY', meta, 'gone', 1)
end
-- Those of `ids`, which were taken from the list, that are no ghosts.
local function living(ids)
  local fields, left, alive = {}, {}, {}
  for i = 1, #ids do
    fields[i] = 'g' .. ids[i]
  end
  local counts = call('HMGET', more, unpack(fields))
  for i = 1, #ids do
    local id = ids[i]
    local ghosts = left[id] or tonumber(counts[i] or 0)
    if ghosts > 0 then
      left[id] = ghosts - 1
      if call('HINCRBY', more, 'g' .. id, -1) <= 0 then
        call('HDEL', more, 'g' .. id)
      end
      call('HINCRBY', meta, 'gone', -1)
    else
      alive[#alive + 1] = id
    end
  end
  return alive
end
-- Wakes as many workers that wait for jobs, if there are.
local function wake(count)
  if count < 1 then
    return
  end
  local found = call('ZPOPMAX', idle, math.min(count, 100))
  local missing = 0
  for i = 1, #found, 2 do
    if tonumber(found[i + 1]) > now and call('PUBLISH', wake_of .. found[i], 'w') == 0 then
      missing = missing + 1
    end
  end
  if missing > 0 and missing * 2 == #found then
    -- Nobody of this node heard: those who wait elsewhere, or after a crash, are asked too.
    found = call('ZPOPMAX', idle, 100)
    for i = 1, #found, 2 do
      call('PUBLISH', wake_of .. found[i], 'w')
    end
  end
end
-- Puts a job off until `due`. Those who wait for jobs learn of a new earliest one.
local function put_off(id, due)
  local text = string.format('%.0f', due)
  call('ZADD', delayed, text, id)
  if call('ZRANGE', delayed, 0, 0)[1] == id and call('EXISTS', idle) == 1 then
    call('PUBLISH', sub(wake_of, 1, -2), 'd' .. text)
  end
end
