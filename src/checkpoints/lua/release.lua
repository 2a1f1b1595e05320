-- An owner gives its thread back, or up.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  text  the owner's name
-- ARGV[3]  text  'pause': it is given back; 'done', 'failed': it is over; 'again': it is interrupted, for another to try …
-- ARGV[4]  ms    … after this time
--
-- Returns 1, or 0 where the caller owned it no more.
local owner, how, delay = ARGV[2], ARGV[3], tonumber(ARGV[4])
local head = call('HMGET', STATE, 'owner', 'worker')
if head[1] ~= owner then
  return 0
end
if how == 'again' then
  -- Nobody has that name. Its end is certain, so nobody is spared.
  call('HSET', STATE, 'owner', '-', 'ends', whole(now + delay), 'crashed', '1')
  call('ZADD', DUE, whole(now + delay), thread)
  return 1
end
unlist_owned(head[2])
call('HDEL', STATE, 'owner', 'ends', 'lease', 'run', 'worker', 'epoch', 'was', 'times', 'crashed')
if how ~= 'pause' then
  call('HSET', STATE, 'status', how)
end
if not gen then
  call('UNLINK', STATE)
  call('ZREM', THREADS, thread)
  settle_threads()
end
redis.pcall('PUBLISH', NEWS, 'free')
return 1
