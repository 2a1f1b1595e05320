-- Reads one job.
--
-- KEYS[1]  hash  jobs
-- KEYS[2]  hash  run
-- KEYS[3]  hash  more
-- ARGV[1]  id    of the job
--
-- Returns { id, job, record, progress, stacks }, or nil.
local jobs, run, more = KEYS[1], KEYS[2], KEYS[3]
local id = ARGV[1]

local body = redis.call('HGET', jobs, id)
if not body then
  return false
end
local found = redis.call('HMGET', more, 'p' .. id, 's' .. id)
return { id, body, redis.call('HGET', run, id), found[1], found[2] }
