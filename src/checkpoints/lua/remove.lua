-- Removes a thread. While its owner may still believe that it owns it, the fencing token stays, so that the owner is told.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
--
-- Returns 1, or 0 where there was none.
local head = call('HMGET', STATE, 'owner', 'ends', 'fence', 'worker')
local was = call('UNLINK', STATE, ORDER)
unlist_owned(head[4])
call('ZREM', THREADS, thread)
settle_threads()
local left = head[1] and number(head[2]) - now or 0
if left > 0 then
  call('HSET', STATE, 'fence', head[3], 'own', '1')
  call('PEXPIRE', STATE, whole(left + 1000))
end
redis.pcall('PUBLISH', NEWS, 'free')
return (gen or head[1] or was > 1) and 1 or 0
