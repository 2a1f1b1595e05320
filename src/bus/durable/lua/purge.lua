-- Deletes all dead letters of a group, or a value of another type at their key.
--
-- KEYS[1]  stream  dead letters of the group
--
-- Returns how many were deleted; 1 for a key of another type.
local dead = KEYS[1]

local is = redis.call('TYPE', dead).ok
if is == 'stream' then
  -- The key stays: a stream remembers the ids that it gave.
  return redis.call('XTRIM', dead, 'MAXLEN', 0)
end
return redis.call('UNLINK', dead)
