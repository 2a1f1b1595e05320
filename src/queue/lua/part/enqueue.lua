-- Enqueues waiting jobs, and delays others.

-- Scores of waiting jobs: the priority, and within it the order of adding.
local PRIORITY_STEP = 4294967296
-- True where jobs of groups wait.
local grouped = false
-- A job with a group waits in the group's sorted set, one with a priority in `ranked`, any other in the list. `first`: before the others.
local function enqueue(id, priority, group, first)
  enqueued = enqueued + 1
  if group ~= '' then
    local order = count_up(meta, 'order', 1)
    if first then
      order = -order
    end
    local key = group_of .. group
    grouped = true
    safe_call('ZADD', key, string.format('%.0f', priority * PRIORITY_STEP + order), id)
    count_up(meta, 'grouped', 1)
    if call('ZCARD', key) == 1 and safe_call('SISMEMBER', blocked, group) == 0 and safe_call('RPUSH', ring, group) == 1 then
      safe_call('RPUSH', ring, '')
    end
  elseif priority > 0 then
    local order = first and 0 or count_up(meta, 'order', 1)
    safe_call('ZADD', ranked, string.format('%.0f', priority * PRIORITY_STEP + order), id)
  elseif first then
    safe_call('LPUSH', wait, id)
  else
    tail[#tail + 1] = id
  end
end
-- A job that leaves the list early keeps its id there as a tombstone: removing the id would cost more the longer the list is. `more`
-- counts the tombstones of an id, `gone` in `meta` all of them. Each tombstone makes one occurrence of the id void, the first that is
-- taken from the list.
local function leave_tombstone(id)
  count_up(more, 'g' .. id, 1)
  count_up(meta, 'gone', 1)
end
-- The `ids` without tombstones; `ids` were taken from the list.
local function without_tombstones(ids)
  local fields, left, jobs_left = {}, {}, {}
  for i = 1, #ids do
    fields[i] = 'g' .. ids[i]
  end
  local counts = call('HMGET', more, unpack(fields))
  for i = 1, #ids do
    local id = ids[i]
    local count = left[id] or whole(counts[i]) or 0
    if count > 0 then
      left[id] = count - 1
      if count_up(more, 'g' .. id, -1) <= 0 then
        call('HDEL', more, 'g' .. id)
      end
      count_up(meta, 'gone', -1)
    else
      jobs_left[#jobs_left + 1] = id
    end
  end
  return jobs_left
end
-- Delays a job until `due`. Where it is the first that is due, the wake-up 'd' and that time tells all workers.
local function delay(id, due)
  local text = string.format('%.0f', due)
  safe_call('ZADD', delayed, text, id)
  if call('ZRANGE', delayed, 0, 0)[1] == id then
    call('PUBLISH', sub(wake_of, 1, -2), 'd' .. text)
  end
end
