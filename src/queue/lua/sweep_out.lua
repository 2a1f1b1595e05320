-- Removes jobs of one kind, or has failed ones wait again; so many at once that no other client waits long.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  text   'wait', 'ranked', 'group', 'delayed', 'completed', 'failed' (remove), or 'retry'
-- ARGV[7]  count  at most
-- ARGV[8]  ms     'completed', 'failed': only those that finished at least so long ago
--
-- ARGV[9]  prefix of the keys of dedupe ids
--
-- Returns { how many were looked at, how many of them were removed or wait again, messages left in the outbox }.
local kind, most, age, once_of = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
hear(call('HGET', meta, 'heard'))

-- The key of the dedupe id of a job with these options, if it has one.
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
  -- Whole groups, and a part of the last.
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
    local found = own('ZRANGE', key, 0, most - #ids - 1)
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
  -- Where nothing was left of groups there may be others.
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
      local options, parent = added_with(call('HGET', jobs, ids[i]))
      local with = named(parent)
      with.o = dedupe_of(options)
      revive(ids[i], with, priority, group)
    end
  end
  line_up()
  wake(entered)
  publish()
  return { looked, looked, mailed }
end

if kind == 'wait' then
  ids = living(ids)
end
local gone = {}
for i = 1, #ids do
  local id = ids[i]
  local body = call('HGET', jobs, id)
  local record = call('HGET', run, id)
  if body and not (kind == 'wait' and record and sub(record, 1, 1) ~= 'w') then
    gone[#gone + 1] = id
    tell('v', id)
    call('HDEL', jobs, id)
    if kind == 'failed' then
      removed(id, body)
    elseif kind ~= 'completed' then
      local options, parent = added_with(body)
      local with = named(parent)
      with.o = dedupe_of(options)
      ended(id, with, 'r', '')
    end
  end
end
forget(gone)
line_up()
wake(entered)
publish()
return { looked, #gone, mailed }
