-- Changes of a thread: it is created, trimmed, and its expiry is renewed.

-- Creates the thread if it does not exist, or if one of its keys was lost. Its owner stays.
local function begin()
  if intact then
    return
  end
  if gen or call('EXISTS', ORDER) == 1 then
    local names = { 'fence', 'own', 'owner', 'ends', 'lease', 'run', 'worker', 'epoch', 'was', 'times', 'crashed', 'status' }
    local kept = call('HMGET', STATE, unpack(names))
    call('UNLINK', STATE, ORDER)
    for at, name in ipairs(names) do
      if kept[at] then
        call('HSET', STATE, name, kept[at])
      end
    end
  end
  gen = whole(now_us)
  call('HSET', STATE, 'gen', gen)
  call('ZADD', ORDER, 0, 'g' .. gen)
  intact = true
end

-- The share's lists last as long as the last of its threads.
local function settle_lists()
  local last = call('ZREVRANGE', THREADS, 0, 0, 'WITHSCORES')[2]
  if not last then
    call('ZREM', DUE, '')
  end
  for _, list in ipairs(last and { THREADS, DUE, WORKERS } or {}) do
    if last == 'inf' then
      call('PERSIST', list)
    else
      call('PEXPIREAT', list, last)
    end
  end
end

-- Renews the expiry of all that the thread has, `ttl` ms from now, or from the end of its owner's lease; 0 is none. Some of the share's
-- threads that expired leave its list.
local function live_on(ttl)
  local score = 'inf'
  if ttl > 0 then
    score = whole(math.max(now, number(call('HGET', STATE, 'ends'))) + ttl)
    call('PEXPIREAT', STATE, score)
    call('PEXPIREAT', ORDER, score)
    call('HSET', STATE, 'ttl', whole(ttl))
  else
    call('PERSIST', STATE)
    call('PERSIST', ORDER)
    call('HDEL', STATE, 'ttl')
  end
  if call('ZADD', THREADS, score, thread) == 1 and call('ZCARD', THREADS) == 1 then
    -- No thread of the share can be missing from the list of owned ones.
    call('ZADD', DUE, 'inf', '')
  end
  local states = sub(STATE, 1, #STATE - #thread)
  for _, other in ipairs(call('ZRANGEBYSCORE', THREADS, '-inf', now, 'LIMIT', 0, 8)) do
    if call('EXISTS', states .. other) == 0 then
      call('ZREM', THREADS, other)
    end
  end
  settle_lists()
end

local function place(letter, scope, id, seq)
  return letter .. format('%016.0f', seq) .. '\0' .. scope .. '\0' .. id
end

-- Lists a checkpoint among those that may be trimmed, unless it is pinned.
local function may_go(scope, id, record)
  if record[7] == 0 then
    call('ZADD', ORDER, 0, place('t', scope, id, record[6]))
  end
end

-- The number of values and pending writes that this call may still remove. A checkpoint is removed with all its values. If it has more pending
-- writes than that, later calls remove the rest, which belong to no checkpoint until then.
local room = 1000

-- Removes the pending writes of a removed checkpoint. If there is no room for all, the rest is listed to be trimmed next.
local function drop_pending(scope, id)
  local writes, most = field('w', scope, id), math.max(room, 0)
  local found = call('ZRANGEBYLEX', ORDER, '[' .. writes .. '\0', '(' .. writes .. '\1', 'LIMIT', 0, most)
  local freed = 0
  for _, write in ipairs(found) do
    freed = freed + call('HSTRLEN', STATE, write)
  end
  if found[1] then
    call('HDEL', STATE, unpack(found))
    call('ZREM', ORDER, unpack(found))
    call('HINCRBY', STATE, 'bytes', -freed)
  end
  room = room - #found
  local rest = place('t', scope, id, 0)
  if #found == most then
    call('ZADD', ORDER, 0, rest)
  else
    call('ZREM', ORDER, rest)
  end
end

-- Removes a value, unless another checkpoint uses it. Returns the number of freed bytes.
local function drop_value(value)
  local more = call('HGET', STATE, 'r\0' .. value)
  if not more then
    local freed = call('HSTRLEN', STATE, 'v\0' .. value)
    call('HDEL', STATE, 'v\0' .. value)
    return freed
  end
  local left = number(more) - 1
  if left < 0 or (left == 0 and call('HEXISTS', STATE, 'v\0' .. value) == 1) then
    call('HDEL', STATE, 'r\0' .. value)
  else
    call('HSET', STATE, 'r\0' .. value, whole(left))
  end
  return 0
end

-- Removes a checkpoint, with the values that no other checkpoint uses.
local function drop(scope, id)
  local name = field('c', scope, id)
  local text = call('HGET', STATE, name)
  if not text then
    return
  end
  local record = cmsgpack.unpack(text)
  local freed = #text
  for at = 1, #record[9], 2 do
    freed = freed + drop_value(scope .. '\0' .. record[9][at] .. '\0' .. record[9][at + 1])
  end
  room = room - #record[9] / 2
  if record[8] == 1 and record[1] ~= '' then
    local needed = field('n', scope, record[1])
    if call('HINCRBY', STATE, needed, -1) <= 0 then
      call('HDEL', STATE, needed)
      local parent = call('HGET', STATE, field('c', scope, record[1]))
      if parent and record[1] ~= latest_of(scope) then
        may_go(scope, record[1], cmsgpack.unpack(parent))
      end
    end
  end
  call('HDEL', STATE, name)
  call('ZREM', ORDER, name, place('s', scope, id, record[6]), place('t', scope, id, record[6]))
  call('HINCRBY', STATE, 'bytes', -freed)
  drop_pending(scope, id)
end

-- The number of the oldest save among the newest `last`; 0 if there are not more.
local function first_kept(last)
  local at = call('ZLEXCOUNT', ORDER, '-', '(t') - last
  local member = at >= 0 and call('ZRANGE', ORDER, whole(at), whole(at))[1] or ''
  return number(match(member, '^s(%d+)'))
end

-- Is a checkpoint older than `age` ms (0: of any age)?
local function is_older(scope, id, age)
  local text = age > 0 and call('HGET', STATE, field('c', scope, id))
  return text and cmsgpack.unpack(text)[2] < now - age
end

-- Removes the oldest checkpoints that are not among the newest `last`, or older than `age` ms (0: of any age), 64 at most, as long as there is
-- room. Returns the number of removed checkpoints, and whether there may be more. A checkpoint that others need leaves the list, and is listed
-- again, as the oldest, when none needs it any more.
local function trim(last, age)
  local kept, gone = first_kept(last), 0
  for _ = 1, 64 do
    local member = call('ZRANGEBYLEX', ORDER, '[t', '(u', 'LIMIT', 0, 1)[1]
    if not member then
      return gone, false
    end
    local seq, scope, id = match(member, '^t(%d+)%z([^%z]*)%z(.*)$')
    if tonumber(seq) == 0 then
      drop_pending(scope, id)
    elseif tonumber(seq) >= kept and not is_older(scope, id, age) then
      return gone, false
    elseif call('HEXISTS', STATE, field('n', scope, id)) == 1 then
      call('ZREM', ORDER, member)
    else
      drop(scope, id)
      gone = gone + 1
    end
    if room <= 0 then
      return gone, true
    end
  end
  return gone, true
end
