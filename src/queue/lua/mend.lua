-- Puts keys aside that are of another type than the queue's: somebody wrote over them, and nothing of what they held is left.
--
-- KEYS[1]   hash        meta
-- KEYS[2]   sorted set  leases
-- KEYS[3…]  keys of the queue
-- ARGV[1]   prefix      of names for what is put aside
-- ARGV[2]   prefix      of the set of what a worker holds
-- ARGV[3]   channel     of every worker: whoever renews first tells what was found
-- ARGV[4…]  text        the type of each key
--
-- Returns how many were found.
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
  call('PUBLISH', ARGV[3], 'c')
end
return found
