-- Deadlines: what is due, and whether the caller may declare it.

-- The first letter of a death notice.
local CRASHED_NOTICE, SUPERSEDED_NOTICE = 'c', 's'

-- Declares a worker crashed, once: the script that removes the worker from its deadline set does it. Its claims end with its
-- epoch.
local function crash(id)
  local w = worker(id)
  local last = w and last_beat(id, w)
  if call('ZREM', LATE, id) + call('ZREM', ALIVE, id) == 0 or not w then
    return
  end
  local was = snapshot(w)
  w.crashed, w.has_commands, w.claims, w.last = true, false, 0, last
  call('ZADD', CRASHED, integer(now + w.forget_ms), id)
  call('DEL', COMMANDS .. id)
  if commit(id, w, was, last) then
    call('RPUSH', UNREAPED, cmsgpack.pack(rows({ id })[1]))
    call('LTRIM', UNREAPED, -10000, -1)
    emit('crashed', id, w, last)
  end
  call('PUBLISH', DEATHS, CRASHED_NOTICE .. ' ' .. w.epoch .. ' ' .. id)
end

-- The parts of an entry of `claimed`: token, epoch of the worker, lease in ms, worker.
local function parse_claim(text)
  return match(text or '', '^(%d+) (%d+) (%d+) (.*)$')
end

-- Gives the slot of an ended claim back.
local function free_claim(claim)
  local text = call('HGET', CLAIMED, claim)
  call('HDEL', CLAIMED, claim)
  call('ZREM', CLAIMS, claim)
  local _, epoch, _, id = parse_claim(text)
  if not id then
    note_damage('claim', claim)
    return
  end
  local w = worker(id)
  if w and w.epoch == epoch and not w.crashed and w.claims > 0 then
    local was = snapshot(w)
    w.claims = w.claims - 1
    commit(id, w, was)
  end
end

local share, callers_mastership = match(ARGV[2], '^(%S+) (%S+)$')

-- The name of this server's mastership, 40 characters. A restart gives another name, and so does each promotion. The id of the
-- process would not do: after two failovers the same process is the master again.
local mastership
local function name_mastership()
  if not mastership then
    local info = redis.pcall('INFO', 'replication')
    mastership = type(info) == 'string' and match(info, 'master_replid:(%w+)')
    if not mastership then
      info = redis.pcall('INFO', 'server')
      mastership = type(info) == 'string' and match(info, 'run_id:(%w+)') or 'unknown'
    end
    mastership = string.sub(mastership .. string.rep('0', 40), 1, 40)
  end
  return mastership
end

-- Records the mastership. After a restart or a failover no worker could send a heartbeat in time, so all get a full lease from
-- the first sweep under the new master.
local function note_mastership()
  local name = name_mastership()
  local known = call('HGET', META, 'run')
  if known ~= name then
    call('HSET', META, 'run', name)
    if known then
      call('HSET', META, 'grace', integer(now + lease_ms))
    end
  end
end

-- Must no worker be declared late or crashed? True for a while after a restart, a failover, or a change of the server's clock.
local function in_grace()
  local grace = number(call('HGET', META, 'grace'))
  if grace > now + lease_ms then
    call('HSET', META, 'grace', integer(now + lease_ms))
  end
  return now < grace
end

-- Up to `limit` workers that may be declared crashed now, where `due` workers are due.
--
-- A storm starts when a large share of the fleet falls due together. Workers that crashed within the last lease count too,
-- because a part of the fleet that was cut off falls due one after another. For one lease from the start of a storm no worker is
-- declared crashed, at any share, because workers also come back one after another. A worker that falls due
-- in that time has a lease of its own from its deadline on. While the share stays large, only a few workers are declared crashed
-- in each interval.
local function workers_to_crash(due, limit)
  local least, step = tonumber(ARGV[3]), tonumber(ARGV[5])
  local recent = call('ZCOUNT', CRASHED, '(' .. integer(now + tonumber(ARGV[6]) - lease_ms), '+inf')
  local live = call('ZCARD', ALIVE) + call('ZCARD', LATE)
  local together = due + recent
  local storm = call('HMGET', META, 'hold', 'stormy', 'next')
  local hold = math.min(number(storm[1]), now + lease_ms)
  local stormy, next = math.min(number(storm[2]), now), math.min(number(storm[3]), now + step)
  local is_large = together >= least and together > tonumber(share) * (live + recent)
  if is_large then
    if now - stormy > lease_ms then
      hold = now + lease_ms
    end
    stormy = now
    call('HSET', META, 'hold', integer(hold), 'stormy', integer(stormy))
  end
  if now < hold or (is_large and now < next) then
    return {}
  end
  if is_large then
    limit = math.min(limit, math.max(least, math.ceil(live / 100)))
  end
  local ids = call('ZRANGEBYSCORE', LATE, '-inf', integer(now - lease_ms), 'LIMIT', 0, limit)
  local calm = math.max(hold, stormy, now - lease_ms)
  if #ids < limit and calm < now then
    for _, id in ipairs(call('ZRANGEBYSCORE', LATE, '(' .. integer(calm), now, 'LIMIT', 0, limit - #ids)) do
      ids[#ids + 1] = id
    end
  end
  if is_large and #ids > 0 then
    call('HSET', META, 'next', integer(now + step))
  end
  return ids
end

-- Marks a worker late.
local function mark_late(id)
  local w = worker(id)
  if not w or w.crashed or w.late then
    return remove_stray('ZREM', ALIVE, id)
  end
  local last, was = last_beat(id, w), snapshot(w)
  call('ZREM', ALIVE, id)
  w.late = true
  call('ZADD', LATE, integer(tonumber(last) + w.crash_ms), id)
  commit(id, w, was, last)
end

-- Ends claims and removes crashed workers whose time is over, at most `limit` of both. Returns how many.
local function clear(limit)
  local lapsed = call('ZRANGEBYSCORE', CLAIMS, '-inf', now, 'LIMIT', 0, limit)
  for _, claim in ipairs(lapsed) do
    free_claim(claim)
  end
  local gone = call('ZRANGEBYSCORE', CRASHED, '-inf', now, 'LIMIT', 0, limit - #lapsed)
  for _, id in ipairs(gone) do
    local w = worker(id)
    if w and w.crashed then
      remove(id)
    else
      remove_stray('ZREM', CRASHED, id)
    end
  end
  return #lapsed + #gone
end

-- Does at most `limit` of all that is due: claims lapse, crashed workers are removed, workers become late, late workers crash.
-- The limit bounds how long one call delays the server. Returns whether more is due.
local function sweep(limit)
  local left = limit - clear(limit)
  if left == 0 or may_declare_until == 0 then
    return left == 0
  end
  note_mastership()
  local late = call('ZRANGEBYSCORE', ALIVE, '-inf', now, 'LIMIT', 0, left)
  if #late == 0 and #call('ZRANGEBYSCORE', LATE, '-inf', now, 'LIMIT', 0, 1) == 0 then
    return false
  end
  if in_grace() then
    return false
  end
  for _, id in ipairs(late) do
    mark_late(id)
  end
  left = left - #late
  -- How many workers are due together is known only when all late workers are in `late`.
  if left == 0 then
    return true
  end
  local due = call('ZCOUNT', LATE, '-inf', now)
  local ids = due > 0 and workers_to_crash(due, left) or {}
  for _, id in ipairs(ids) do
    local w = worker(id)
    if w and w.late and not w.crashed then
      crash(id)
    else
      remove_stray('ZREM', LATE, id)
    end
  end
  return #ids == left
end

-- The server's clock was set forward: nothing is due that is due only by this clock.
if may_declare_until == 1 then
  may_declare_until = 0
  call('HSET', META, 'grace', integer(now + lease_ms))
end

-- The caller was connected to another server until now, and the fleet may have sent its heartbeats there. Only the caller can
-- know: a master that was cut off and never demoted notices no change itself.
if may_declare_until > 0 and callers_mastership ~= name_mastership() then
  return redis.error_reply('ELSEWHERE ' .. mastership)
end

-- The call took too long to arrive, because the server stood still: the script does nothing, and the caller decides again. By its
-- own clock the caller knows how long the call took, and so whether the server's clock was set.
if may_declare_until > 0 and now > may_declare_until and (call('ZCOUNT', ALIVE, '-inf', now) > 0 or call('ZCOUNT', LATE, '-inf', now) > 0) then
  return redis.error_reply('STALE ' .. integer(now))
end
