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

local ids, set = {}, nil
if kind == 'wait' then
  ids = call('LPOP', wait, most) or {}
elseif kind == 'ranked' or kind == 'delayed' then
  set = kind == 'ranked' and ranked or delayed
  ids = call('ZRANGE', set, 0, most - 1)
elseif kind == 'group' then
  local group
  repeat
    group = call('LINDEX', ring, 0)
    if group == '' then
      call('LPOP', ring)
      group = call('LINDEX', ring, 0)
    end
    group = group or call('SRANDMEMBER', blocked)
    if group then
      set = group_of .. group
      ids = own('ZRANGE', set, 0, most - 1)
      if #ids > 0 then
        count_up(meta, 'grouped', -#ids)
      end
      if call('ZCARD', set) == #ids then
        call('LREM', ring, 0, group)
        call('SREM', blocked, group)
      end
    end
  until not group or ids[1]
else
  set = kind == 'completed' and completed or failed
  ids = call('ZRANGEBYSCORE', set, '-inf', string.format('%.0f', now - age), 'LIMIT', 0, most)
end
local looked = #ids
if looked == 0 then
  return { 0, 0, 0 }
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
