-- Removes a group without consumers, with all its records and its dead letters.
--
-- KEYS, ARGV[1..4]  see group.lua
--
-- Returns {0} if there is no such group, {1} if it was removed, {2, number of consumers} if it has consumers.
local alive = redis.call('ZCOUNT', consumers, '(' .. string.format('%.0f', now), '+inf')
if alive > 0 then
  return { 2, alive }
end
local destroyed = redis.pcall('XGROUP', 'DESTROY', stream, group)
-- A group that was destroyed by hand may have left records.
redis.call('UNLINK', key_queues, due, parked, notes, consumers, dead)
return { destroyed == 1 and 1 or 0 }
