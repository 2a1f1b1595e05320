-- Removes what stands at a key of the group and is of another type: it cannot be the group's, and every script would fail on it.
-- It stands behind group.lua, before the scripts that may be the first to see such a key.
--
-- KEYS, ARGV[1..4]  see group.lua
local TYPES = { [lanes] = 'hash', [due] = 'zset', [parked] = 'zset', [notes] = 'hash', [consumers] = 'zset', [dead] = 'stream' }

for key, right in pairs(TYPES) do
  local is = redis.call('TYPE', key).ok
  if is ~= right and is ~= 'none' then
    redis.call('UNLINK', key)
    damaged = damaged + 1
  end
end
