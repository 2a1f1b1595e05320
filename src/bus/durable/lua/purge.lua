-- Deletes all dead letters of a group, and whatever else stands at their key.
--
-- KEYS[1]  stream  dead letters of the group
--
-- Returns how many were deleted; 1 for a key that is none of dead letters.
local dead = KEYS[1]

local is = redis.call('TYPE', dead).ok
if is == 'stream' then
  -- Not the key: a stream remembers the ids it gave.
  return redis.call('XTRIM', dead, 'MAXLEN', 0)
end
return redis.call('UNLINK', dead)
