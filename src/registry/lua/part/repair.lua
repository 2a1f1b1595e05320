-- Repair: a look at a few sizes finds what no script of the registry leaves behind; a walk over all records puts it right, one
-- part in each call of `sweep`.

-- Is a deadline in `key` later than possible? `field` is the time from a heartbeat, or from a crash, to that deadline.
local function is_beyond(key, field)
  local last = call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  local w = last[1] and worker(last[1])
  return w and tonumber(last[2]) - w[field] > now + 1000
end

-- Is a random worker of `key` missing from an index that its labels name?
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

-- Do the indices and the states disagree, by their sizes and a few random workers?
local function is_inconsistent()
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

-- Removes a key that is no list or no stream, and a stream that can take no more events.
local function check_events()
  call('LLEN', UNREAPED)
  local event = call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
  if event and #match(event[1], '^%d+') > 16 then
    -- No later id is possible, so no later event could be read.
    call('UNLINK', EVENTS)
    note_damage('key', EVENTS)
  end
end

-- Starts a repair where one is needed, or where the server's clock went back: then every deadline is too late. Returns whether a
-- repair is running.
local function start_repair_if_needed()
  local kept = call('HMGET', META, 'seen', 'mend')
  local seen = number(kept[1])
  local went_back = seen > now
  if went_back then
    call('HDEL', META, 'grace', 'hold', 'stormy', 'next')
  end
  if went_back or now - seen >= 1000 then
    call('HSET', META, 'seen', integer(now))
  end
  check_events()
  if went_back or not kept[2] and is_inconsistent() then
    call('HSET', META, 'mend', '1 0')
  end
  return call('HEXISTS', META, 'mend') == 1
end

-- Puts a worker into the indices that its state names.
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
    call('ZADD', key, integer(now + time_left), id)
  end
end

local function restore_claim(claim, text)
  local _, _, lease = parse_claim(text)
  if not lease then
    return free_claim(claim)
  end
  local ends, latest = call('ZSCORE', CLAIMS, claim), now + number(lease)
  if not ends or tonumber(ends) > latest then
    call('ZADD', CLAIMS, integer(latest), claim)
  end
end

-- Calls `visit` with the members of one part of `key` and their values. Returns the cursor of the next part.
local function visit_part(scan, key, cursor, visit)
  local part = call(scan, key, cursor, 'COUNT', scan == 'HSCAN' and key ~= STATE and key ~= CLAIMED and 20 or 100)
  local members = part[2]
  for at = 1, #members, scan == 'SSCAN' and 1 or 2 do
    visit(members[at], members[at + 1])
  end
  return part[1]
end

-- The steps of the walk: how a key is scanned, and what is done with its members. The steps after the first two remove members
-- without a state.
local function walks()
  local list = { { 'HSCAN', STATE, restore }, { 'HSCAN', CLAIMED, restore_claim } }
  local function add(scan, key, command, known)
    list[#list + 1] = { scan, key, function(member)
      if call('HEXISTS', known, member) == 0 then
        remove_stray(command, key, member)
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

-- Does the next part of the repair. Returns whether there is more.
local function repair()
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
