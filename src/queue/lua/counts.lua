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
-- What is damaged counts as nothing.
local function whole(text)
  local n = tonumber(text or nil)
  return n and n > -1e15 and n < 1e15 and n or 0
end
local waiting = math.max(0, call('LLEN', KEYS[1]) - whole(counted[1])) + call('ZCARD', KEYS[2]) + math.max(0, whole(counted[2]))
local active = 0
for _, owner in ipairs(call('ZRANGE', KEYS[7], 0, -1)) do
  local held = redis.pcall('SCARD', ARGV[1] .. owner)
  active = active + (type(held) == 'number' and held or 0)
end
return { waiting, active, call('ZCARD', KEYS[3]), call('ZCARD', KEYS[5]), call('ZCARD', KEYS[6]), call('ZCARD', KEYS[4]) }
