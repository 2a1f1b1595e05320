-- Pauses or resumes the claiming of jobs.
--
-- KEYS[1]  hash     meta
-- ARGV[1]  0 or 1   whether to pause
-- ARGV[2]  channel  of all workers
--
-- Returns 1.
local CLAIM = 'w'
if ARGV[1] == '1' then
  redis.call('HSET', KEYS[1], 'paused', 1)
else
  redis.call('HDEL', KEYS[1], 'paused')
  redis.call('PUBLISH', ARGV[2], CLAIM)
end
return 1
