-- Starts or renews the lease of a worker, which covers all its jobs, and reports what the worker must know from time to time. A worker that
-- holds no job rests: it needs no lease, and its next step that claims a job starts one.
--
-- KEYS[1]  sorted set  leases
-- KEYS[2]  hash        cancels
-- KEYS[3]  sorted set  idle
-- KEYS[4]  sorted set  ticks
-- KEYS[5]  sorted set  delayed
-- KEYS[6]  hash        outbox
-- KEYS[7]  list        wait
-- KEYS[8]  sorted set  ranked
-- KEYS[9]  list        ring
-- KEYS[10] hash        owners
-- KEYS[11] sorted set  parked
-- KEYS[12] hash        meta
-- KEYS[13] set         held: ids that this worker holds
-- ARGV[1]  token       the worker's owner token
-- ARGV[2]  ms          how long its lease lasts from now
-- ARGV[3]  0, 1 or 2   1: the lease starts; 2: the worker rests, unless it holds a job after all
-- ARGV[4]  ms          how long it counts as waiting for jobs; 0: no change; -1: it takes none
-- ARGV[5]  text        '<epoch> <id>' of its registration in a registry, where the server does not know it; else nothing
-- ARGV[6]  cursor      of the next page of cancellations; 0 at the start
--
-- Returns { now; 1 if the lease is held or the worker rests, 2 if it rests and nothing else is in progress in the queue, else 0;
-- { id, lease, reason … } of cancellations; owners whose leases have ended; ms of the next tick or -1; ms of the next delayed job or -1;
-- how many messages are in the outbox; 1 if jobs may wait; 1 if it is time for check_parents.lua; how much damage was found; how many
-- jobs the worker holds; cursor of the next page of cancellations }.
local leases, cancels, idle, ticks, delayed, outbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local owner, lease, how, idle_for = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = string.format('%.0f', now)

local STARTS, RESTS = '1', '2'
-- The longest lease that there may be, ms.
local MOST = 2147483647
local holds = call('SCARD', KEYS[13])
local rests = how == RESTS and holds == 0
local held = how == STARTS or how == RESTS or call('ZSCORE', leases, owner)
local cancelled, cursor = {}, ARGV[6]
if rests then
  call('ZREM', leases, owner)
  call('HDEL', KEYS[10], owner)
elseif held then
  call('ZADD', leases, string.format('%.0f', now + lease), owner)
end
if held then
  if idle_for > 0 then
    call('ZADD', idle, string.format('%.0f', now + idle_for), owner)
  elseif idle_for < 0 then
    call('ZREM', idle, owner)
  end
  if ARGV[5] ~= '' then
    call('HSET', KEYS[10], owner, ARGV[5])
  end
  local page = call('HSCAN', cancels, cursor, 'COUNT', 500)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    local id, text = page[2][i], page[2][i + 1]
    local job_lease, reason = string.match(text, '^([^\n]*)\n(.*)$')
    local holder = job_lease and string.match(job_lease, '^(.*)%.')
    if holder == owner then
      local n = #cancelled
      cancelled[n + 1], cancelled[n + 2], cancelled[n + 3] = id, job_lease, reason
      call('HDEL', cancels, id)
    elseif not holder or not call('ZSCORE', leases, holder) then
      call('HDEL', cancels, id)
    end
  end
end
local known = call('HMGET', KEYS[12], 'look', 'mended', 'longest')
-- No lease is longer than the longest that was given. One that is has a damaged time, or one from before the clock was set back.
local last = held and call('ZREVRANGE', leases, 0, 0, 'WITHSCORES') or {}
if last[1] then
  local left = tonumber(last[2]) - now
  local longest = tonumber(known[3] or nil)
  if not longest or longest < lease or longest > MOST then
    -- Where `longest` was lost, the leases of other workers count.
    longest = math.max(lease, not longest and left <= MOST and left or 0)
    call('HSET', KEYS[12], 'longest', string.format('%.0f', longest))
  end
  if left > longest then
    call('ZADD', leases, string.format('%.0f', now + longest), last[1])
  end
end
local overdue = call('ZRANGEBYSCORE', leases, '-inf', now_text, 'LIMIT', 0, 10)
for i = #overdue, 1, -1 do
  if not string.match(overdue[i], '^%w+$') then
    -- This is no name of a worker.
    call('ZREM', leases, overdue[i])
    table.remove(overdue, i)
  end
end
local tick = call('ZRANGE', ticks, 0, 0, 'WITHSCORES')[2] or '-1'
local due = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or '-1'
local messages = call('HLEN', outbox)
local has_waiting = call('EXISTS', KEYS[7], KEYS[8], KEYS[9]) > 0 and 1 or 0
local parents = call('EXISTS', KEYS[11])
local checks_parents = parents
if checks_parents == 1 then
  local at = tonumber(string.match(known[1] or '', '^%d+'))
  -- A time that is far off was written before the clock was set back.
  checks_parents = at and at > now and at <= now + 60000 and 0 or 1
end
local damage = tonumber(known[2] or nil) or 0
if known[2] then
  call('HDEL', KEYS[12], 'mended')
end
local quiet = rests and not last[1] and has_waiting + parents + messages == 0
local state = quiet and 2 or held and 1 or 0
return { now_text, state, cancelled, overdue, tick, due, messages, has_waiting, checks_parents, damage, holds, cursor }
