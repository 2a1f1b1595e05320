-- Removes a group that nobody consumes, with all that is known of its messages and its dead letters.
--
-- KEYS, ARGV[1..4]  see group.lua
--
-- Returns {0} where there is no such group, {1} where it is removed, {2, consumers that are alive} where it has some.
local alive = redis.call('ZCOUNT', consumers, '(' .. string.format('%.0f', now), '+inf')
if alive > 0 then
  return { 2, alive }
end
local destroyed = redis.pcall('XGROUP', 'DESTROY', stream, group)
-- Something may be left of a group that was destroyed by hand.
redis.call('UNLINK', lanes, due, parked, notes, consumers, dead)
return { destroyed == 1 and 1 or 0 }
