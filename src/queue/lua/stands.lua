-- How it stands with a job that somebody waits for.
--
-- KEYS[1]  hash    jobs
-- KEYS[2]  hash    run
-- KEYS[3]  hash    meta
-- KEYS[4]  string  a large result of the job, where it was not kept
-- ARGV[1]  id      of the job
--
-- Returns { number of the last event that was written, 1 if the job is there else 0, record, the large result }.
local id = ARGV[1]
local told = redis.call('HGET', KEYS[3], 'told') or '0'
if #told > 15 or not string.match(told, '^%d+$') then
  told = '0'
end
if redis.call('HEXISTS', KEYS[1], id) == 1 then
  return { told, 1, redis.call('HGET', KEYS[2], id), false }
end
return { told, 0, false, redis.call('GET', KEYS[4]) }
