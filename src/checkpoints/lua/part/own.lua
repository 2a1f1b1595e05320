-- The owner of a thread, and the right to write to it.

-- Notes in the share's lists that the thread is owned until `ends`.
local function list_owned(ends, worker)
  call('ZADD', DUE, whole(ends), thread)
  if worker ~= '' then
    call('ZADD', WORKERS, 0, worker .. '\0' .. thread)
  end
end

-- Removes the thread from the share's lists of owned threads.
local function unlist_owned(worker)
  call('ZREM', DUE, thread)
  if worker then
    call('ZREM', WORKERS, worker .. '\0' .. thread)
  end
end

-- An owner's right to renew its lease: '<owner> <fence> <ttl> <epoch> <bytes of the worker> <worker><thread>'.
local function parse_right(text)
  local owner, fence, ttl, epoch, length, rest = match(text, '^(%S+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  return { owner = owner, fence = fence, ttl = number(ttl), epoch = epoch, worker = sub(rest, 1, length), thread = sub(rest, length + 1) }
end

-- Gives the thread back to its owner after Redis lost the thread. No other owner can have had it since.
local function own_again(right, lease)
  call('HSET', STATE, 'owner', right.owner, 'fence', right.fence, 'own', '1', 'lease', whole(lease))
  call('HSET', STATE, 'ends', whole(now + lease), 'run', mastership())
  if right.worker ~= '' then
    call('HSET', STATE, 'worker', right.worker, 'epoch', right.epoch)
  end
  list_owned(now + lease, right.worker)
  live_on(right.ttl)
end

-- The refusal of a write with this fencing token, or '' for none; nil if the write is allowed.
local function refusal(fence)
  local head = call('HMGET', STATE, 'fence', 'own', 'owner', 'ends')
  local last = number(head[1])
  local is_held = head[3] and number(head[4]) > now
  local given = tonumber(fence)
  local refused
  if not given then
    refused = is_held
  elseif given == last then
    refused = head[2] and not is_held
  else
    refused = given < last or is_held
  end
  return refused and { 'fenced', whole(last) } or nil
end

-- Stores the fencing token of a write that was allowed.
local function note_fence(fence)
  local given = tonumber(fence)
  if given and given > number(call('HGET', STATE, 'fence')) then
    call('HSET', STATE, 'fence', fence)
    call('HDEL', STATE, 'own')
  end
end

-- For how many ms nobody may take the thread from its owner, whose lease is over. `gap` is for how long the caller was cut off, `back` since
-- when it is not.
local function spared(lease, gap, back)
  if gap > lease / 2 and back < lease then
    return lease - back
  end
  return renewed_by_mastership(STATE, DUE, thread, call('HGET', STATE, 'run'), lease, now) and lease or 0
end

-- Removes a thread that has no checkpoints and belongs to nobody. For `ms`, if above 0, the fencing token stays, so that an owner who does not
-- know yet that the thread was taken from it is told.
local function forget(fence, ms)
  call('UNLINK', STATE, ORDER)
  call('ZREM', THREADS, thread)
  settle_lists()
  if ms > 0 then
    call('HSET', STATE, 'fence', fence, 'own', '1')
    call('PEXPIRE', STATE, whole(ms))
  end
end
