-- A page of what may be in one state, for list.lua's long way.
--
-- KEYS[1]  list, set or sorted set  is walked: wait, ring, blocked, leases, or what a worker holds
-- KEYS[2]  hash    jobs
-- KEYS[3]  hash    run
-- KEYS[4]  hash    more
-- ARGV[1]  text    what it is: wait, ring, blocked, leases, held
-- ARGV[2]  cursor  of the page; of a list the place in it. 0 at the start
-- ARGV[3]  prefix  of the sorted set of a group's waiting jobs, or of the set of what a worker holds
--
-- Returns { cursor of the next page; 0 after the last, rows }. A row is of `wait` an id, how many of its names in the list are ghosts, and 1 if it
-- waits, else 0; of `ring` and `blocked` a group, how many jobs of it wait, 0; of `leases` a worker, how much it holds, 0; of `held` an id, ms when it
-- was started, 0.
local key, jobs, run, more = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local what, cursor, prefix = ARGV[1], ARGV[2], ARGV[3]
local call = redis.call
local rows, next = {}, '0'

local function row(name, number, flag)
  local n = #rows
  rows[n + 1], rows[n + 2], rows[n + 3] = name, number, flag
end

-- How many are in a key of `prefix`. One that is none of ours is empty.
local function size(command, name)
  local count = redis.pcall(command, prefix .. name)
  return type(count) == 'number' and count or 0
end

if what == 'wait' or what == 'ring' then
  local from = tonumber(cursor)
  local page = call('LRANGE', key, from, from + 499)
  next = #page == 500 and string.format('%.0f', from + 500) or '0'
  if what == 'ring' then
    for _, group in ipairs(page) do
      if group ~= '' then
        row(group, size('ZCARD', group), 0)
      end
    end
  elseif page[1] then
    local fields = {}
    for i = 1, #page do
      fields[i] = 'g' .. page[i]
    end
    local ghosts, records = call('HMGET', more, unpack(fields)), call('HMGET', run, unpack(page))
    for i, id in ipairs(page) do
      local left = tonumber(ghosts[i] or nil) or 0
      local waits = string.sub(records[i] or 'w', 1, 1) == 'w' and call('HEXISTS', jobs, id) or 0
      if left > 0 or waits == 1 then
        row(id, string.format('%.0f', left), waits)
      end
    end
  end
elseif what == 'held' then
  local page = redis.pcall('SSCAN', key, cursor, 'COUNT', 500)
  if not page.err then
    next = page[1]
    local records = page[2][1] and call('HMGET', run, unpack(page[2])) or {}
    for i, id in ipairs(page[2]) do
      row(id, string.match(records[i] or '', '^a|[^|]*|%d+|%d+|(%d+)|') or '0', 0)
    end
  end
else
  local sorted = what == 'leases'
  local page = call(sorted and 'ZSCAN' or 'SSCAN', key, cursor, 'COUNT', 500)
  next = page[1]
  for i = 1, #page[2], sorted and 2 or 1 do
    row(page[2][i], size(sorted and 'SCARD' or 'ZCARD', page[2][i]), 0)
  end
end
return { next, rows }
