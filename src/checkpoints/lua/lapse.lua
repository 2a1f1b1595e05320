-- Ends the lease of an owner that is gone without a release: the thread is interrupted.
--
-- KEYS[1..6]: see part/base.lua
-- ARGV[1]  text  the owner's right, see parse_right in part/own.lua
--
-- Returns 1 when it was ended, 0 if the owner no longer owned the thread.
local right = parse_right(ARGV[1])
thread = right.thread
if call('HGET', STATE, 'owner') ~= right.owner then
  return 0
end
call('HSET', STATE, 'ends', whole(now))
call('ZADD', DUE, whole(now), thread)
return 1
