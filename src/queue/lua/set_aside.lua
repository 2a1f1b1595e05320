-- Renames keys that have another type than the queue's: a stranger has overwritten them, and what they held is lost.
--
-- KEYS[1]   hash        meta
-- KEYS[2]   sorted set  leases
-- KEYS[3…]  keys of the queue
-- ARGV[1]   prefix      of the new names
-- ARGV[2]   prefix      of the set of ids that a worker holds
-- ARGV[3]   channel     of all workers: the first that renews reports the damage
-- ARGV[4…]  text        the type of each key
--
-- Returns how many keys were of another type.
local RENEW = 'c'
local call = redis.call
local found = 0
for i = 1, #KEYS do
  local kind = call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= ARGV[i + 3] then
    call('RENAME', KEYS[i], ARGV[1] .. string.match(KEYS[i], '([^}]*)$'))
    found = found + 1
  end
end
for _, owner in ipairs(call('ZRANGE', KEYS[2], 0, 999)) do
  local kind = call('TYPE', ARGV[2] .. owner).ok
  if kind ~= 'none' and kind ~= 'set' then
    call('UNLINK', ARGV[2] .. owner)
    found = found + 1
  end
end
if found > 0 then
  call('HSET', KEYS[1], 'mended', (tonumber(call('HGET', KEYS[1], 'mended') or 0) or 0) + found)
  call('PUBLISH', ARGV[3], RENEW)
end
return found
