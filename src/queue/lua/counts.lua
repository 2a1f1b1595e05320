-- Counts the jobs in each state. Active jobs are counted by worker, a page of workers at a time where there are very many.
--
-- KEYS[1]  list        wait
-- KEYS[2]  sorted set  ranked
-- KEYS[3]  sorted set  delayed
-- KEYS[4]  sorted set  parked
-- KEYS[5]  sorted set  completed
-- KEYS[6]  sorted set  failed
-- KEYS[7]  sorted set  leases
-- KEYS[8]  hash        meta
-- ARGV[1]  prefix      of the set of ids that a worker holds
-- ARGV[2]  cursor      of the page of workers
--
-- Returns { waiting, active, delayed, completed, failed, waiting for children, cursor of the next page; 0 after the last }. Where there are
-- several pages, active is 0, and after the cursor come the name of each worker that holds jobs and how many it holds. A worker may be in
-- several pages.
local call = redis.call
local counted = call('HMGET', KEYS[8], 'gone', 'grouped')
-- A stored whole number; 0 where it is damaged.
local function whole(text)
  local n = tonumber(text or nil)
  return n and n > -1e15 and n < 1e15 and n or 0
end
local waiting = math.max(0, call('LLEN', KEYS[1]) - whole(counted[1])) + call('ZCARD', KEYS[2]) + math.max(0, whole(counted[2]))
local page = call('ZSCAN', KEYS[7], ARGV[2], 'COUNT', 500)
local counts = {
  waiting, 0, call('ZCARD', KEYS[3]), call('ZCARD', KEYS[5]), call('ZCARD', KEYS[6]), call('ZCARD', KEYS[4]), page[1],
}
local is_all = ARGV[2] == '0' and page[1] == '0'
for i = 1, #page[2], 2 do
  local owner = page[2][i]
  local held = redis.pcall('SCARD', ARGV[1] .. owner)
  held = type(held) == 'number' and held or 0
  if is_all then
    counts[2] = counts[2] + held
  elseif held > 0 then
    counts[#counts + 1] = owner
    counts[#counts + 1] = held
  end
end
return counts
