-- How many jobs are in each state.
--
-- KEYS[1]  list        wait
-- KEYS[2]  sorted set  ranked
-- KEYS[3]  sorted set  delayed
-- KEYS[4]  sorted set  parked
-- KEYS[5]  sorted set  completed
-- KEYS[6]  sorted set  failed
-- KEYS[7]  sorted set  leases
-- KEYS[8]  hash        meta
-- ARGV[1]  prefix      of the set of what a worker holds
--
-- Returns { waiting, active, delayed, completed, failed, waiting for children }.
local call = redis.call
local counted = call('HMGET', KEYS[8], 'gone', 'grouped')
local waiting = call('LLEN', KEYS[1]) - tonumber(counted[1] or 0) + call('ZCARD', KEYS[2]) + tonumber(counted[2] or 0)
local active = 0
for _, owner in ipairs(call('ZRANGE', KEYS[7], 0, -1)) do
  active = active + call('SCARD', ARGV[1] .. owner)
end
return { waiting, active, call('ZCARD', KEYS[3]), call('ZCARD', KEYS[5]), call('ZCARD', KEYS[6]), call('ZCARD', KEYS[4]) }
