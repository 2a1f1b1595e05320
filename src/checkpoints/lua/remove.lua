-- Removes a thread. While its owner may still believe that it owns it, the fencing token stays, so that the owner is told.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
--
-- Returns 1, or 0 where there was none.
local head = call('HMGET', STATE, 'owner', 'ends', 'fence', 'worker')
local was = call('EXISTS', STATE, ORDER)
local left = head[1] and number(head[2]) - now or 0
unlist_owned(head[4])
forget(head[3], left > 0 and left + 1000 or 0)
redis.pcall('PUBLISH', NEWS, 'free')
return (gen or head[1] or was > 1) and 1 or 0
