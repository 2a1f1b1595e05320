-- What falls due, and who may say so.

-- Declares a worker crashed, once: who takes it out of its deadline set is the one. Its claims are void with its epoch.
local function crash(id)
  local w = worker(id)
  local last = w and last_beat(id, w)
  if call('ZREM', LATE, id) + call('ZREM', ALIVE, id) == 0 or not w then
    return
  end
  local was = view(w)
  w.crashed, w.mail, w.claims, w.last = true, false, 0, last
  call('ZADD', CRASHED, whole(now + w.forget_ms), id)
  call('DEL', COMMANDS .. id)
  if commit(id, w, was, last) then
    call('RPUSH', UNREAPED, cmsgpack.pack(rows({ id })[1]))
    call('LTRIM', UNREAPED, -10000, -1)
    emit('crashed', id, w, last)
  end
  call('PUBLISH', DEATHS, 'c ' .. w.epoch .. ' ' .. id)
end

-- What `claimed` says of a claim: its token, its worker's epoch, its lease in ms, its worker.
local function parse_claim(text)
  return match(text or '', '^(%d+) (%d+) (%d+) (.*)$')
end

-- Gives a slot back whose claim is over.
local function free(claim)
  local text = call('HGET', CLAIMED, claim)
  call('HDEL', CLAIMED, claim)
  call('ZREM', CLAIMS, claim)
  local _, epoch, _, id = parse_claim(text)
  if not id then
    note('claim', claim)
    return
  end
  local w = worker(id)
  if w and w.epoch == epoch and not w.crashed and w.claims > 0 then
    local was = view(w)
    w.claims = w.claims - 1
    commit(id, w, was)
  end
end

local share, told_mastership = match(ARGV[2], '^(%S+) (%S+)$')

-- What names the time for which this server has been the master, in 40 characters: a restart gives another name, and so does each
-- promotion. The process alone would not do: it is the same one again after two failovers.
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

-- Notes which mastership this is. After a restart or a failover nobody could beat in time: everyone has a full lease from the first
-- sweep under the new master.
local function note_mastership()
  local name = name_mastership()
  local known = call('HGET', META, 'run')
  if known ~= name then
    call('HSET', META, 'run', name)
    if known then
      call('HSET', META, 'grace', whole(now + lease_ms))
    end
  end
end

-- Whether nobody may be declared late or crashed: after a restart, a failover, or a clock that was set.
local function in_grace()
  local grace = number(call('HGET', META, 'grace'))
  if grace > now + lease_ms then
    call('HSET', META, 'grace', whole(now + lease_ms))
  end
  return now < grace
end

-- Up to `limit` of the workers that may be declared crashed now, where `due` are.
--
-- A storm starts when a large share of the fleet falls due together; those that crashed within the last lease count too, since a
-- part that was cut off falls due one after another. For a lease from then on nobody is declared crashed, whatever the share is by
-- then: those that come back come back one after another too. Whoever fell due in the meantime has a lease of its own from its
-- deadline on. While the share stays large, only a few are declared crashed in each interval.
local function condemned(due, limit)
  local least, step = tonumber(ARGV[3]), tonumber(ARGV[5])
  local recent = call('ZCOUNT', CRASHED, '(' .. whole(now + tonumber(ARGV[6]) - lease_ms), '+inf')
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
    call('HSET', META, 'hold', whole(hold), 'stormy', whole(stormy))
  end
  if now < hold or (is_large and now < next) then
    return {}
  end
  if is_large then
    limit = math.min(limit, math.max(least, math.ceil(live / 100)))
  end
  local ids = call('ZRANGEBYSCORE', LATE, '-inf', whole(now - lease_ms), 'LIMIT', 0, limit)
  local calm = math.max(hold, stormy, now - lease_ms)
  if #ids < limit and calm < now then
    for _, id in ipairs(call('ZRANGEBYSCORE', LATE, '(' .. whole(calm), now, 'LIMIT', 0, limit - #ids)) do
      ids[#ids + 1] = id
    end
  end
  if is_large and #ids > 0 then
    call('HSET', META, 'next', whole(now + step))
  end
  return ids
end

-- Marks a worker late whose heartbeat is.
local function mark_late(id)
  local w = worker(id)
  if not w or w.crashed or w.late then
    return stray('ZREM', ALIVE, id)
  end
  local last, was = last_beat(id, w), view(w)
  call('ZREM', ALIVE, id)
  w.late = true
  call('ZADD', LATE, whole(tonumber(last) + w.crash_ms), id)
  commit(id, w, was, last)
end

-- Lapses claims and forgets crashed workers whose time is up, `limit` at most of both. Returns how many it was.
local function clear(limit)
  local lapsed = call('ZRANGEBYSCORE', CLAIMS, '-inf', now, 'LIMIT', 0, limit)
  for _, claim in ipairs(lapsed) do
    free(claim)
  end
  local gone = call('ZRANGEBYSCORE', CRASHED, '-inf', now, 'LIMIT', 0, limit - #lapsed)
  for _, id in ipairs(gone) do
    local w = worker(id)
    if w and w.crashed then
      remove(id)
    else
      stray('ZREM', CRASHED, id)
    end
  end
  return #lapsed + #gone
end

-- Does `limit` at most of all that is due: claims lapse, crashed workers are forgotten, workers are late, and crash. So no call holds
-- the server up, however much falls due at once. Returns whether more is due.
local function sweep(limit)
  local left = limit - clear(limit)
  if left == 0 or judges_until == 0 then
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
  -- How many are due together is known only when all that are late are among the late.
  if left == 0 then
    return true
  end
  local due = call('ZCOUNT', LATE, '-inf', now)
  local ids = due > 0 and condemned(due, left) or {}
  for _, id in ipairs(ids) do
    local w = worker(id)
    if w and w.late and not w.crashed then
      crash(id)
    else
      stray('ZREM', LATE, id)
    end
  end
  return #ids == left
end

-- The clock was set forward: what is due by it is not.
if judges_until == 1 then
  judges_until = 0
  call('HSET', META, 'grace', whole(now + lease_ms))
end

-- The caller was at another server until now, where the fleet may have beaten: what it believes is of there. A master that was cut off
-- and is named again has not heard of anyone since, and was not demoted: only the caller can know.
if judges_until > 0 and told_mastership ~= name_mastership() then
  return redis.error_reply('ELSEWHERE ' .. mastership)
end

-- A call that was long on its way, to a server that stood still, brings a judgement that is none any more: nothing is done, and
-- the caller decides anew. It decides by its own clock how long the call took, and so whether the server's was set.
if judges_until > 0 and now > judges_until and (call('ZCOUNT', ALIVE, '-inf', now) > 0 or call('ZCOUNT', LATE, '-inf', now) > 0) then
  return redis.error_reply('STALE ' .. whole(now))
end
