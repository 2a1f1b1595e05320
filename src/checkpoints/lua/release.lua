-- An owner gives its thread back, or ends the work on it.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  text  the owner's name
-- ARGV[3]  text  'pause': it is given back; 'done', 'failed': it is over; 'again': it is interrupted, for another to try after a time; 'undo':
--                the owner never learnt that it had the thread, which is as it was before
-- ARGV[4]  ms    the time for 'again'
--
-- Returns 1, or 0 where the caller owned it no more.
local owner, how, delay = ARGV[2], ARGV[3], tonumber(ARGV[4])

-- Leaves the thread to whoever takes interrupted ones. Nobody has the name '-'; the end is certain, so that nobody is spared.
local function interrupt(ends, worker)
  call('HSET', STATE, 'owner', '-', 'ends', whole(ends), 'crashed', '1')
  unlist_owned(worker)
  call('ZADD', DUE, whole(ends), thread)
end

local head = call('HMGET', STATE, 'owner', 'worker', 'was', 'fence', 'lease', 'ttl')
if head[1] ~= owner then
  return 0
end
if how == 'again' then
  interrupt(now + delay, head[2])
  return 1
end
if how == 'undo' and head[3] then
  local was = cmsgpack.unpack(head[3])
  interrupt(was[3], head[2])
  call('HSET', STATE, 'worker', was[1], 'epoch', whole(was[2]), 'times', whole(was[4] - 1))
  redis.pcall('PUBLISH', NEWS, 'free')
  return 1
end
unlist_owned(head[2])
call('HDEL', STATE, 'owner', 'ends', 'lease', 'run', 'worker', 'epoch', 'was', 'times', 'crashed')
if how == 'done' or how == 'failed' then
  call('HSET', STATE, 'status', how)
end
if gen then
  live_on(number(head[6]))
else
  forget(head[4], head[3] and number(head[5]) + 1000 or 0)
end
redis.pcall('PUBLISH', NEWS, 'free')
return 1
