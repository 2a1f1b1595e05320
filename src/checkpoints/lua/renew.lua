-- Renews an owner's lease, and the expiry of the thread. If Redis has lost the thread, the owner owns it again.
--
-- KEYS[1..6]: see part/base.lua
-- ARGV[1]  text  the owner's right, see parse_right in part/own.lua
-- ARGV[2]  ms    the lease, from now
--
-- Returns 1 when it was renewed, 0 if the caller no longer owns the thread.
local right, lease = parse_right(ARGV[1]), tonumber(ARGV[2])
thread = right.thread
local owner = call('HGET', STATE, 'owner')
if not owner and call('EXISTS', STATE) == 0 then
  own_again(right, lease)
  return 1
end
if owner ~= right.owner then
  return 0
end
call('HSET', STATE, 'ends', whole(now + lease), 'lease', whole(lease), 'run', mastership())
list_owned(now + lease, right.worker)
live_on(right.ttl)
return 1
