-- Reads whether a job has finished, for a caller that waits for its end.
--
-- KEYS[1]  hash    jobs
-- KEYS[2]  hash    run
-- KEYS[3]  hash    meta
-- KEYS[4]  string  a large result of the job, where the job was not kept
-- ARGV[1]  id      of the job
--
-- Returns { number of the last event that was written, 1 if the job exists else 0, record, the large result }.
local id = ARGV[1]
local newest = redis.call('HGET', KEYS[3], 'told') or '0'
if #newest > 15 or not string.match(newest, '^%d+$') then
  newest = '0'
end
if redis.call('HEXISTS', KEYS[1], id) == 1 then
  return { newest, 1, redis.call('HGET', KEYS[2], id), false }
end
return { newest, 0, false, redis.call('GET', KEYS[4]) }
