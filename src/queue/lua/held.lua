-- Reads a page of the jobs that a worker holds. A job that it holds all the while is in at least one page.
--
-- KEYS[1]  set     held
-- KEYS[2]  hash    jobs
-- KEYS[3]  hash    run
-- KEYS[4]  hash    more
-- ARGV[1]  cursor  of the page
--
-- Returns { cursor of the next page; 0 after the last, id, job, record, progress … }.
local held, jobs, run, more = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local page = redis.call('SSCAN', held, ARGV[1], 'COUNT', 250)
local found = { page[1] }
for i, id in ipairs(page[2]) do
  local n = i * 4
  found[n - 2], found[n - 1], found[n] = id, redis.call('HGET', jobs, id), redis.call('HGET', run, id)
  found[n + 1] = redis.call('HGET', more, 'p' .. id) or ''
end
return found
