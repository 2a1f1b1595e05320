-- Ends the lease of a worker that holds nothing any more. One that may hold something is left to be given away at once.
--
-- KEYS[1]  sorted set  leases
-- KEYS[2]  sorted set  idle
-- KEYS[3]  set         held: ids that this worker holds
-- KEYS[4]  hash        owners
-- KEYS[5]  hash        meta
-- ARGV[1]  token       its owner token
--
-- Returns 1 when its lease has ended, 0 when it holds something.
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
