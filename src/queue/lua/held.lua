-- What a worker holds.
--
-- KEYS[1]  set   held
-- KEYS[2]  hash  jobs
-- KEYS[3]  hash  run
-- KEYS[4]  hash  more
--
-- Returns { id, job, record, progress … }.
local held, jobs, run, more = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local found = {}
for i, id in ipairs(redis.call('SMEMBERS', held)) do
  local n = i * 4
  found[n - 3], found[n - 2], found[n - 1] = id, redis.call('HGET', jobs, id), redis.call('HGET', run, id)
  found[n] = redis.call('HGET', more, 'p' .. id) or ''
end
return found
