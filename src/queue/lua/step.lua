-- One step of a worker: settles the jobs that it has finished, enqueues delayed jobs that are due, and claims as many jobs as it has room for.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- KEYS[18]  set     held: ids that this worker holds
-- KEYS[19]  list    rate: starts within the window, '<ms> <count>'
-- ARGV[6]   token   the worker's owner token
-- ARGV[7]   text    the lease of what is claimed now: the owner token and a number that is never used again
-- ARGV[8]   count   jobs wanted
-- ARGV[9]   count   active jobs a group may have; 0: any number
-- ARGV[10]  count   starts that the rate limit allows, for the whole fleet; 0: any number
-- ARGV[11]  ms      the window of the rate limit
-- ARGV[12]  ms      how long this worker counts as waiting for jobs, where it gets fewer than it wants
-- ARGV[13]  ms      how long the lease lasts that starts now, if it claims a job; 0: the worker has a lease
-- ARGV[14]  count   of rules: three arguments each: 'c' completed or 'f' failed, how many such jobs are kept or -1, ms for which they are kept or -1
-- ARGV[15]  count   of outcomes, after the rules, see part/settle.lua
--
-- Returns { now, 0 } where this worker's lease has ended and its jobs were recovered; then nothing was changed. Else
-- { now; 1; places of refused outcomes; { id, job, 'attempts|stalls|priority' or '', progress or '' … } of claimed jobs; ms of the next
-- delayed job or -1; ms until the rate limit allows a start or 0; how many messages are left in the outbox; 1 where it stopped although
-- more jobs may wait; how many jobs this worker holds now }.
local held, rate = KEYS[18], KEYS[19]
local owner, lease, wanted, limit = ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local most, window, idle_for = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local lease_ms, rules, outcomes = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])

if lease_ms == 0 and not call('ZSCORE', leases, owner) then
  return { now_text, 0 }
end
local flags = call('HMGET', meta, 'paused', 'heard', 'gone', 'grouped', 'shared')
local paused = flags[1]
set_listening(flags[2])
has_tombstones = flags[3] and flags[3] ~= '0'
grouped = flags[4] and flags[4] ~= '0'
shared = (whole(flags[5]) or 0) > 0

-- How many starts are in `rate`, the list of the starts within the window; `rated` in `meta` is their number.
local function count_started()
  local count = whole(call('HGET', meta, 'rated'))
  if not count or count < 0 then
    count_damage()
    count = 0
    for _, entry in ipairs(call('LRANGE', rate, 0, -1)) do
      count = count + (whole(match(entry, ' (%d+)$')) or 0)
    end
    call('HSET', meta, 'rated', count)
  end
  return count
end

local refused = {}
if outcomes > 0 then
  refused = settle(16 + rules * 3, outcomes, held)
  for i = 0, rules - 1 do
    local at = 16 + i * 3
    trim(ARGV[at] == 'c' and completed or failed, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  end
end

local next_due, limited = '-1', 0
if wanted > 0 and not paused then
  promote_delayed()
  push_tail()
  local room, first = wanted, nil
  if most > 0 then
    first = call('LINDEX', rate, 0)
    -- Entries that are too old; the next step removes more.
    local over = 500
    while first and over > 0 do
      local at, count = match(first, '^(%d+) (%d+)$')
      at = whole(at)
      -- A time in the future is damaged, or was written before the clock was set back.
      if at and at > now - window and at <= now then
        break
      end
      call('LPOP', rate)
      over = over - 1
      count_up(meta, 'rated', -(whole(count) or 0))
      first = call('LINDEX', rate, 0)
    end
    if first then
      room = math.min(room, most - count_started())
    else
      call('HDEL', meta, 'rated')
      room = math.min(room, most)
    end
  end
  if room > 0 then
    if grouped then
      claim_grouped(room, lease, limit)
    else
      claim_ungrouped(room, lease)
    end
  end
  if taken > 0 then
    if lease_ms > 0 then
      call('ZADD', leases, string.format('%.0f', now + lease_ms), owner)
    end
    call('HSET', run, unpack(starts))
    call('SADD', held, unpack(holds))
    if most > 0 then
      call('RPUSH', rate, now_text .. ' ' .. taken)
      count_up(meta, 'rated', taken)
    end
    if listening and call('EXISTS', ranked) == 0 then
      local counts = call('HMGET', meta, 'gone', 'grouped')
      if call('LLEN', wait) <= (whole(counts[1]) or 0) and (whole(counts[2]) or 0) <= 0 then
        emit('drained', '')
      end
    end
  end
  if taken < wanted then
    if taken >= room then
      limited = math.max(1, (whole(match(first or now_text, '^%d+')) or now) + window - now)
    end
    next_due = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] or '-1'
  end
else
  push_tail()
end
if taken < wanted and limited == 0 and budget > 0 then
  call('ZADD', idle, string.format('%.0f', now + idle_for), owner)
end
if enqueued > taken then
  wake_workers(enqueued - taken)
end
publish_events()
return { now_text, 1, refused, claimed, next_due, limited, messages_left, budget > 0 and 0 or 1, call('SCARD', held) }
