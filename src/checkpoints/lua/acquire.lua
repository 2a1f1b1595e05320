-- Gives a thread to an owner, unless another owner has it. A repetition by the same owner gives the same answer.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  text    the owner's name, unique to each call
-- ARGV[3]  ms      the lease
-- ARGV[4]  text    the owner's worker in a registry, or ''
-- ARGV[5]  number  its epoch
-- ARGV[6]  ms      expiry of the thread; 0: none
-- ARGV[7]  0 or 1  only where it was interrupted
-- ARGV[8]  count   of interruptions after which it has failed; 0: never
-- ARGV[9]  ms      for how long the caller was cut off …
-- ARGV[10] ms      … and since when it is not
--
-- Returns {'taken', fencing token, the checkpoint or nil, nil or {worker, epoch, when it was interrupted, how often}};
-- {'held', ms until the lease ends}; {'free'}: it was not interrupted; {'failed', how often}.
local owner, lease, worker, epoch, ttl = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
local only_interrupted, most, gap, back = ARGV[7] == '1', tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])

local function taken(token, was)
  local latest = latest_of('')
  return { 'taken', token, latest and loaded('', latest) or false, was and cmsgpack.unpack(was) or false }
end

local head = call('HMGET', STATE, 'owner', 'ends', 'lease', 'worker', 'epoch', 'times', 'fence', 'was', 'crashed')
local before, ends = head[1], number(head[2])
if before == owner then
  -- Its lease starts again: the caller counts from this attempt.
  call('HSET', STATE, 'ends', whole(now + lease), 'run', mastership())
  list_owned(now + lease, worker)
  live_on(ttl)
  return taken(head[7], head[8])
end
local was
if before then
  local left = ends - now
  if left <= 0 and not head[9] then
    left = spared(number(head[3]), gap, back)
  end
  if left > 0 then
    return { 'held', left }
  end
  local times = number(head[6]) + 1
  unlist_owned(head[4])
  call('HDEL', STATE, 'owner', 'ends', 'worker', 'epoch', 'crashed', 'was')
  if most > 0 and times > most then
    if gen then
      call('HSET', STATE, 'status', 'failed')
      live_on(ttl)
    else
      forget(head[7], number(head[3]) + 1000)
    end
    redis.pcall('PUBLISH', NEWS, 'free')
    return { 'failed', times }
  end
  was = cmsgpack.pack({ head[4] or '', number(head[5]), ends, times })
  call('HSET', STATE, 'times', times, 'was', was)
elseif only_interrupted then
  call('ZREM', DUE, thread)
  return { 'free' }
else
  call('HDEL', STATE, 'times', 'was')
end

-- It grows also over a flush, as long as the clock does not go back.
local token = whole(math.max(number(head[7]) + 1, now_us))
call('HSET', STATE, 'owner', owner, 'fence', token, 'own', '1', 'lease', whole(lease), 'ends', whole(now + lease), 'run', mastership())
call('HDEL', STATE, 'status')
if worker ~= '' then
  call('HSET', STATE, 'worker', worker, 'epoch', epoch)
end
list_owned(now + lease, worker)
live_on(ttl)
return taken(token, was)
