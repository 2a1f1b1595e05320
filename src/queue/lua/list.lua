-- Reads a page of the jobs in one state, where that is quick. Where it is not, list_names.lua and list_jobs.lua do it in several calls.
--
-- KEYS[1]   list        wait
-- KEYS[2]   sorted set  ranked
-- KEYS[3]   sorted set  delayed
-- KEYS[4]   sorted set  parked
-- KEYS[5]   sorted set  completed
-- KEYS[6]   sorted set  failed
-- KEYS[7]   sorted set  leases
-- KEYS[8]   hash        jobs
-- KEYS[9]   hash        run
-- KEYS[10]  hash        more
-- KEYS[11]  list        ring
-- KEYS[12]  set         blocked
-- KEYS[13]  hash        meta
-- ARGV[1]   letter      of the state, see src/queue/record.rs
-- ARGV[2]   count       jobs to skip
-- ARGV[3]   count       jobs wanted
-- ARGV[4]   0 or 1      whether the last come first
-- ARGV[5]   prefix      of the set of ids that a worker holds
-- ARGV[6]   prefix      of the sorted set of a group's waiting jobs
--
-- Returns { id, job, record, progress, stacks … }; nil where that is not quick.
local WAITING, ACTIVE, DELAYED, WAITING_CHILDREN, COMPLETED = 'w', 'a', 'd', 'k', 'c'
local state, start, limit, backwards = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local call = redis.call
local jobs, run, more = KEYS[8], KEYS[9], KEYS[10]
local found, seen, left = {}, {}, start
-- How many more ids, groups and workers may be read.
local budget = 1000

local function show(id)
  if limit == 0 or seen[id] then
    return
  end
  local body, record = call('HGET', jobs, id), call('HGET', run, id)
  if not body or string.sub(record or WAITING, 1, 1) ~= state then
    return
  end
  seen[id] = true
  if left > 0 then
    left = left - 1
    return
  end
  limit = limit - 1
  local extra = call('HMGET', more, 'p' .. id, 's' .. id)
  local n = #found
  found[n + 1], found[n + 2], found[n + 3], found[n + 4], found[n + 5] = id, body, record, extra[1], extra[2]
end

-- See part/enqueue.lua.
local tombstones = {}
local has_tombstones = (call('HGET', KEYS[13], 'gone') or '0') ~= '0'
local function is_tombstone(id)
  local left = tombstones[id] or tonumber(call('HGET', more, 'g' .. id) or 0) or 0
  tombstones[id] = left - 1
  return left > 0
end

-- Reads a list or a sorted set by pages, and skips at once what is before the wanted page.
local function go_through(read, reverse_read, key, size)
  local at = 0
  -- Tombstones are only in the list; elsewhere every entry counts.
  local counts = read ~= 'LRANGE' or not has_tombstones
  if counts then
    at = math.min(left, size)
    left = left - at
  end
  while at < size and limit > 0 and budget > 0 do
    local count = math.min(size - at, math.max(limit, 100))
    budget = budget - count
    local page
    if not backwards then
      page = call(read, key, at, at + count - 1)
    elseif reverse_read then
      page = call(reverse_read, key, at, at + count - 1)
    else
      page = call(read, key, size - at - count, size - at - 1)
      for i = 1, math.floor(#page / 2) do
        page[i], page[#page - i + 1] = page[#page - i + 1], page[i]
      end
    end
    for i = 1, #page do
      if counts or not is_tombstone(page[i]) then
        show(page[i])
      end
    end
    at = at + count
  end
end
local function of_set(key)
  go_through('ZRANGE', 'ZREVRANGE', key, call('ZCARD', key))
end

-- The jobs of a group. A key of another type has none.
local function of_group(group)
  budget = budget - 1
  local size = redis.pcall('ZCARD', ARGV[6] .. group)
  if type(size) == 'number' then
    go_through('ZRANGE', 'ZREVRANGE', ARGV[6] .. group, size)
  end
end

if state == WAITING then
  local places = {
    function()
      go_through('LRANGE', nil, KEYS[1], call('LLEN', KEYS[1]))
    end,
    function()
      of_set(KEYS[2])
    end,
    function()
      local from = 0
      repeat
        local page = call('LRANGE', KEYS[11], from, from + 99)
        for i = 1, #page do
          if page[i] ~= '' and limit > 0 and budget > 0 then
            of_group(page[i])
          end
        end
        from = from + 100
      until #page < 100 or limit == 0 or budget <= 0
      if limit > 0 and budget > 0 then
        budget = budget - call('SCARD', KEYS[12])
        for _, group in ipairs(budget > 0 and call('SMEMBERS', KEYS[12]) or {}) do
          of_group(group)
        end
      end
    end,
  }
  for i = 1, 3 do
    places[backwards and 4 - i or i]()
  end
elseif state == ACTIVE then
  -- The sets of held ids have no order.
  local held, started = {}, {}
  budget = budget - call('ZCARD', KEYS[7])
  for _, owner in ipairs(budget > 0 and call('ZRANGE', KEYS[7], 0, -1) or {}) do
    local count = redis.pcall('SCARD', ARGV[5] .. owner)
    budget = budget - (type(count) == 'number' and count or 0)
    if budget <= 0 then
      break
    end
    for _, id in ipairs(redis.pcall('SMEMBERS', ARGV[5] .. owner)) do
      held[#held + 1] = id
      started[id] = tonumber(string.match(call('HGET', run, id) or '', '^a|[^|]*|%d+|%d+|(%d+)|')) or 0
    end
  end
  table.sort(held, function(one, other)
    if started[one] ~= started[other] then
      return started[one] < started[other]
    end
    return one < other
  end)
  for at = 1, budget > 0 and #held or 0 do
    show(held[backwards and #held + 1 - at or at])
  end
else
  of_set(state == DELAYED and KEYS[3] or state == WAITING_CHILDREN and KEYS[4] or state == COMPLETED and KEYS[5] or KEYS[6])
end
if limit > 0 and budget <= 0 then
  return false
end
return found
