-- Reads jobs by id and by place. Jobs in another state are left out.
--
-- KEYS[1]  hash        jobs
-- KEYS[2]  hash        run
-- KEYS[3]  hash        more
-- KEYS[4]  sorted set  ranked
-- ARGV[1]  letter      of the state, see src/queue/record.rs
-- ARGV[2]  prefix      of the sorted set of a group's waiting jobs
-- ARGV[3]  0 or 1      whether the last come first
-- ARGV[4…] four arguments each: 'i', an id, '', ''; or 'r', '', first and last place in `ranked`; or 'g', a group, first and last place in it
--
-- Returns { id, job, record, progress, stacks … }.
local WAITING = 'w'
local ID, RANKED = 'i', 'r'
local jobs, run, more = KEYS[1], KEYS[2], KEYS[3]
local call = redis.call
local found, seen = {}, {}

local function show(id)
  local body, record = call('HGET', jobs, id), call('HGET', run, id)
  if seen[id] or not body or string.sub(record or WAITING, 1, 1) ~= ARGV[1] then
    return
  end
  seen[id] = true
  local extra = call('HMGET', more, 'p' .. id, 's' .. id)
  local n = #found
  found[n + 1], found[n + 2], found[n + 3], found[n + 4], found[n + 5] = id, body, record, extra[1], extra[2]
end

for at = 4, #ARGV, 4 do
  local kind, name = ARGV[at], ARGV[at + 1]
  if kind == ID then
    show(name)
  else
    local key = kind == RANKED and KEYS[4] or ARGV[2] .. name
    local page = redis.pcall(ARGV[3] == '1' and 'ZREVRANGE' or 'ZRANGE', key, ARGV[at + 2], ARGV[at + 3])
    for i = 1, #page do
      show(page[i])
    end
  end
end
return found
