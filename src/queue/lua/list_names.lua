-- Reads a page of names that lead to jobs in one state, for lists that are too long for list.lua.
--
-- KEYS[1]  list, set or sorted set  that is read: wait, ring, blocked, leases, or the ids that a worker holds
-- KEYS[2]  hash    jobs
-- KEYS[3]  hash    run
-- KEYS[4]  hash    more
-- ARGV[1]  text    which key that is: wait, ring, blocked, leases, held
-- ARGV[2]  cursor  of the page; of a list the place in it. 0 at the start
-- ARGV[3]  prefix  of the sorted set of a group's waiting jobs, or of the set of ids that a worker holds
--
-- Returns { cursor of the next page; 0 after the last, rows }. Three values for each row:
--
--   wait            an id, how many tombstones it has, 1 if the job waits, else 0
--   ring, blocked   a group, how many of its jobs wait, 0
--   leases          a worker, how many jobs it holds, 0
--   held            an id, ms when its attempt started, 0
local WAITING = 'w'
local key, jobs, run, more = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local what, cursor, prefix = ARGV[1], ARGV[2], ARGV[3]
local call = redis.call
local rows, next = {}, '0'

local function row(name, number, flag)
  local n = #rows
  rows[n + 1], rows[n + 2], rows[n + 3] = name, number, flag
end

-- The size of a key with `prefix`. A key of another type is empty.
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
    local tombstones, records = call('HMGET', more, unpack(fields)), call('HMGET', run, unpack(page))
    for i, id in ipairs(page) do
      local left = tonumber(tombstones[i] or nil) or 0
      local waits = string.sub(records[i] or WAITING, 1, 1) == WAITING and call('HEXISTS', jobs, id) or 0
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
