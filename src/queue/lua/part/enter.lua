-- Where a job waits: at the tail of the list, or at its head; with a priority in the sorted set; with a group in the group's.
local RANK = 4294967296
-- Do jobs of groups wait?
local grouped = false
local function enter(id, priority, group, first)
  entered = entered + 1
  if group ~= '' then
    local order = count_up(meta, 'order', 1)
    if first then
      order = -order
    end
    local key = group_of .. group
    grouped = true
    own('ZADD', key, string.format('%.0f', priority * RANK + order), id)
    count_up(meta, 'grouped', 1)
    if call('ZCARD', key) == 1 and own('SISMEMBER', blocked, group) == 0 and own('RPUSH', ring, group) == 1 then
      own('RPUSH', ring, '')
    end
  elseif priority > 0 then
    local order = first and 0 or count_up(meta, 'order', 1)
    own('ZADD', ranked, string.format('%.0f', priority * RANK + order), id)
  elseif first then
    own('LPUSH', wait, id)
  else
    tail[#tail + 1] = id
  end
end
-- A job that leaves the list before its turn stays in it as a ghost: taking it out would cost more the more wait. `more` counts
-- the ghosts of an id, `gone` in `meta` all of them; each cancels one name in the list, the first that comes.
local function haunt(id)
  count_up(more, 'g' .. id, 1)
  count_up(meta, 'gone', 1)
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
    local ghosts = left[id] or whole(counts[i]) or 0
    if ghosts > 0 then
      left[id] = ghosts - 1
      if count_up(more, 'g' .. id, -1) <= 0 then
        call('HDEL', more, 'g' .. id)
      end
      count_up(meta, 'gone', -1)
    else
      alive[#alive + 1] = id
    end
  end
  return alive
end
-- Puts a job off until `due`. All workers learn of a new earliest one.
local function put_off(id, due)
  local text = string.format('%.0f', due)
  own('ZADD', delayed, text, id)
  if call('ZRANGE', delayed, 0, 0)[1] == id then
    call('PUBLISH', sub(wake_of, 1, -2), 'd' .. text)
  end
end
