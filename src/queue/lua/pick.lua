-- Jobs by id and by place, those of them that are in one state.
--
-- KEYS[1]  hash        jobs
-- KEYS[2]  hash        run
-- KEYS[3]  hash        more
-- KEYS[4]  sorted set  ranked
-- ARGV[1]  letter      of the state: w, a
-- ARGV[2]  prefix      of the sorted set of a group's waiting jobs
-- ARGV[3]  0 or 1      whether the last come first
-- ARGV[4…] each an id: 'i', the id, '', ''; or a part of the ranked or of a group's: 'r' or 'g', '' or the group, first, last
--
-- Returns { id, job, record, progress, stacks … }.
local jobs, run, more = KEYS[1], KEYS[2], KEYS[3]
local call = redis.call
local found, seen = {}, {}

local function show(id)
  local body, record = call('HGET', jobs, id), call('HGET', run, id)
  if seen[id] or not body or string.sub(record or 'w', 1, 1) ~= ARGV[1] then
    return
  end
  seen[id] = true
  local extra = call('HMGET', more, 'p' .. id, 's' .. id)
  local n = #found
  found[n + 1], found[n + 2], found[n + 3], found[n + 4], found[n + 5] = id, body, record, extra[1], extra[2]
end

for at = 4, #ARGV, 4 do
  local kind, name = ARGV[at], ARGV[at + 1]
  if kind == 'i' then
    show(name)
  else
    local key = kind == 'r' and KEYS[4] or ARGV[2] .. name
    local page = redis.pcall(ARGV[3] == '1' and 'ZREVRANGE' or 'ZRANGE', key, ARGV[at + 2], ARGV[at + 3])
    for i = 1, #page do
      show(page[i])
    end
  end
end
return found
