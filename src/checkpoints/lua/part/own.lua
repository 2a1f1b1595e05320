-- Who owns a thread, and who may write it.

-- What names the time for which this server has been the master: a restart gives another name, and so does each promotion.
local function mastership()
  local told = redis.pcall('INFO', 'replication')
  return type(told) == 'string' and match(told, 'master_replid:(%w+)') or 'unknown'
end

-- Notes in the share's lists that the thread is owned until `ends`. They last as long as the threads in them.
local function list_owned(ends, ttl, worker)
  call('ZADD', DUE, whole(ends), thread)
  local lists = { DUE }
  if worker ~= '' then
    call('ZADD', WORKERS, 0, worker .. '\0' .. thread)
    lists[2] = WORKERS
  end
  for _, list in ipairs(lists) do
    local left = call('PTTL', list)
    if ttl == 0 then
      call('PERSIST', list)
    elseif left >= 0 or call('ZCARD', list) == 1 then
      call('PEXPIRE', list, whole(math.max(left, ttl + ends - now)))
    end
  end
end

-- Notes that nobody owns the thread.
local function unlist_owned(worker)
  call('ZREM', DUE, thread)
  if worker then
    call('ZREM', WORKERS, worker .. '\0' .. thread)
  end
end

-- What a lease is renewed by: '<owner> <fence> <ttl> <epoch> <bytes of the worker> <worker><thread>'.
local function parse_right(text)
  local owner, fence, ttl, epoch, length, rest = match(text, '^(%S+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  return { owner = owner, fence = fence, ttl = number(ttl), epoch = epoch, worker = sub(rest, 1, length), thread = sub(rest, length + 1) }
end

-- Has the owner own the thread again that Redis knows nothing of any more: nobody else has had it since.
local function own_again(right, lease)
  call('HSET', STATE, 'owner', right.owner, 'fence', right.fence, 'own', '1', 'lease', whole(lease))
  call('HSET', STATE, 'ends', whole(now + lease), 'run', mastership())
  if right.worker ~= '' then
    call('HSET', STATE, 'worker', right.worker, 'epoch', right.epoch)
  end
  if right.ttl > 0 then
    call('PEXPIRE', STATE, whole(right.ttl))
  end
  list_owned(now + lease, right.ttl, right.worker)
end

-- Why a write with this fencing token, or '' for none, is refused; nil where it is not.
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

-- Notes the fencing token of a write, which was not refused.
local function note_fence(fence)
  local given = tonumber(fence)
  if given and given > number(call('HGET', STATE, 'fence')) then
    call('HSET', STATE, 'fence', fence)
    call('HDEL', STATE, 'own')
  end
end

-- For how many ms nobody may take the thread from its owner, whose lease is over. `gap` is for how long the caller was cut off, `back` since
-- when it is not. Under another master than the one that heard of the owner last, the owner has a lease of its own first.
local function spared(lease, gap, back)
  if gap > lease / 2 and back < lease then
    return lease - back
  end
  local name = mastership()
  if call('HGET', STATE, 'run') == name then
    return 0
  end
  call('HSET', STATE, 'run', name, 'ends', whole(now + lease))
  call('ZADD', DUE, whole(now + lease), thread)
  return lease
end
