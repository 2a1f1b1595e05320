-- What a worker holds.
--
-- KEYS[1]  set   held
-- KEYS[2]  hash  jobs
-- KEYS[3]  hash  run
--
-- Returns { id, job, record … }.
local held, jobs, run = KEYS[1], KEYS[2], KEYS[3]

local found = {}
for i, id in ipairs(redis.call('SMEMBERS', held)) do
  found[i * 3 - 2], found[i * 3 - 1], found[i * 3] = id, redis.call('HGET', jobs, id), redis.call('HGET', run, id)
end
return found
