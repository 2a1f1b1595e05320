-- Mending: what no script of the registry leaves behind is found by a look at a few sizes, and set right in a walk over all
-- there is, a part in each call of `sweep`.

-- Is there a deadline later than any can be? `field` is how long it is from a heartbeat, or a crash.
local function is_beyond(key, field)
  local last = call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  local w = last[1] and worker(last[1])
  return w and tonumber(last[2]) - w[field] > now + 1000
end

-- Is a worker that was picked at random from `key` missing where its labels say that it is?
local function is_missing(key)
  local id = call('SRANDMEMBER', key)
  local labels = id and labels_of(id)
  if not labels then
    return id
  end
  for at, label in ipairs(labels) do
    if not call('ZSCORE', HAS .. label, id) or at < #labels and call('SISMEMBER', classes_with(label), labels[#labels]) == 0 then
      return true
    end
  end
  return false
end

-- Do the indices and the states disagree, as far as sizes and a few random workers show it?
local function is_odd()
  local all, statuses, missing = call('HLEN', STATE), 0, false
  for _, key in pairs(STATUS) do
    statuses = statuses + call('SCARD', key)
    missing = missing or is_missing(key)
  end
  local flagged = call('SRANDMEMBER', DEGRADED)
  local w = flagged and worker(flagged)
  return missing or statuses ~= all or call('HLEN', DEFINITION) ~= all or call('HLEN', LABELS) ~= all
    or call('HLEN', METADATA) > all or call('ZCARD', EVERYONE) ~= all
    or call('ZCARD', ALIVE) + call('ZCARD', LATE) + call('ZCARD', CRASHED) ~= all
    or call('HLEN', CLAIMED) ~= call('ZCARD', CLAIMS) or flagged and not (w and is_flagged(w))
    or is_beyond(ALIVE, 'late_ms') or is_beyond(LATE, 'crash_ms') or is_beyond(CRASHED, 'forget_ms')
end

-- Takes away what holds no event and takes none.
local function look_at_events()
  call('LLEN', UNREAPED)
  local event = call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
  if event and #match(event[1], '^%d+') > 16 then
    -- Behind an id that no clock gives nothing can be read.
    call('UNLINK', EVENTS)
    note('key', EVENTS)
  end
end

-- Looks whether a walk is needed, and whether the server's clock went back: then every deadline is too far away. Returns whether
-- a walk is under way.
local function look_after()
  local kept = call('HMGET', META, 'seen', 'mend')
  local seen = number(kept[1])
  local went_back = seen > now
  if went_back then
    call('HDEL', META, 'grace', 'hold', 'stormy', 'next')
  end
  if went_back or now - seen >= 1000 then
    call('HSET', META, 'seen', whole(now))
  end
  look_at_events()
  if went_back or not kept[2] and is_odd() then
    call('HSET', META, 'mend', '1 0')
  end
  return call('HEXISTS', META, 'mend') == 1
end

-- Puts a worker where its state says that it is.
local function restore(id, text)
  local w = worker(id, text)
  local labels = w and labels_of(id)
  if not w then
    return
  end
  if not labels or call('HEXISTS', DEFINITION, id) == 0 then
    return discard(id, labels and 'definition' or 'labels')
  end
  index(id, rank(w), labels)
  for at = 1, #labels - 1 do
    call('SADD', classes_with(labels[at]), labels[#labels])
  end
  for status, key in pairs(STATUS) do
    call(status == w.status and 'SADD' or 'SREM', key, id)
  end
  call(is_flagged(w) and 'SADD' or 'SREM', DEGRADED, id)
  local key, time_left = ALIVE, w.late_ms
  if w.crashed then
    key, time_left = CRASHED, w.forget_ms
  elseif w.late then
    key, time_left = LATE, w.crash_ms
  end
  for _, other in ipairs({ ALIVE, LATE, CRASHED }) do
    if other ~= key then
      call('ZREM', other, id)
    end
  end
  local due = call('ZSCORE', key, id)
  if not due or tonumber(due) - time_left > now then
    call('ZADD', key, whole(now + time_left), id)
  end
end

local function restore_claim(claim, text)
  local _, _, lease = parse_claim(text)
  if not lease then
    return free(claim)
  end
  local ends, latest = call('ZSCORE', CLAIMS, claim), now + number(lease)
  if not ends or tonumber(ends) > latest then
    call('ZADD', CLAIMS, whole(latest), claim)
  end
end

-- Calls `visit` with the members of a part of `key`, and what stands beside each. Returns the cursor of the next part.
local function visit_part(scan, key, cursor, visit)
  local part = call(scan, key, cursor, 'COUNT', scan == 'HSCAN' and key ~= STATE and key ~= CLAIMED and 20 or 100)
  local members = part[2]
  for at = 1, #members, scan == 'SSCAN' and 1 or 2 do
    visit(members[at], members[at + 1])
  end
  return part[1]
end

-- What the walk goes over: how a key is scanned, and what is done with its members. Behind the first two, those are removed of
-- which nothing is known.
local function walks()
  local list = { { 'HSCAN', STATE, restore }, { 'HSCAN', CLAIMED, restore_claim } }
  local function add(scan, key, command, known)
    list[#list + 1] = { scan, key, function(member)
      if call('HEXISTS', known, member) == 0 then
        stray(command, key, member)
      end
    end }
  end
  for _, key in ipairs({ EVERYONE, ALIVE, LATE, CRASHED }) do
    add('ZSCAN', key, 'ZREM', STATE)
  end
  for _, key in ipairs({ STATUS.idle, STATUS.busy, STATUS.paused, STATUS.draining, DEGRADED }) do
    add('SSCAN', key, 'SREM', STATE)
  end
  for _, key in ipairs({ DEFINITION, METADATA, LABELS }) do
    add('HSCAN', key, 'HDEL', STATE)
  end
  add('ZSCAN', CLAIMS, 'ZREM', CLAIMED)
  return list
end

-- Goes on with the walk. Returns whether there is more of it.
local function mend()
  local text = call('HGET', META, 'mend')
  if not text then
    return false
  end
  local place, cursor = match(text, '^(%d%d?) (%d+)$')
  local walk = walks()[tonumber(place or 1)]
  if not walk then
    call('HDEL', META, 'mend')
    return false
  end
  cursor = visit_part(walk[1], walk[2], cursor or '0', walk[3])
  call('HSET', META, 'mend', cursor == '0' and (tonumber(place or 1) + 1) .. ' 0' or (place or '1') .. ' ' .. cursor)
  return true
end
