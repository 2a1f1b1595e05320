-- Ends the lease of a worker that holds no job. Where it still holds jobs, the lease lapses at once, so that other workers recover them.
--
-- KEYS[1]  sorted set  leases
-- KEYS[2]  sorted set  idle
-- KEYS[3]  set         held: ids that this worker holds
-- KEYS[4]  hash        owners
-- KEYS[5]  hash        meta
-- ARGV[1]  token       its owner token
--
-- Returns 1 where the lease was ended, 0 where the worker holds jobs.
local leases, idle, held = KEYS[1], KEYS[2], KEYS[3]
local owner = ARGV[1]

redis.call('ZREM', idle, owner)
if redis.call('EXISTS', held) == 0 then
  redis.call('ZREM', leases, owner)
  redis.call('HDEL', KEYS[4], owner)
  if redis.call('EXISTS', leases) == 0 then
    redis.call('HDEL', KEYS[5], 'longest')
  end
  return 1
end
redis.call('ZADD', leases, 'XX', 0, owner)
return 0
