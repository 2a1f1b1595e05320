-- Removes keys of the group that have another type: this package did not write them, and every script would fail. This file follows
-- group.lua in the scripts that may be the first to use such a key.
--
-- KEYS, ARGV[1..4]  see group.lua
local TYPES = { [key_queues] = 'hash', [due] = 'zset', [parked] = 'zset', [notes] = 'hash', [consumers] = 'zset', [dead] = 'stream' }

for key, right in pairs(TYPES) do
  local is = redis.call('TYPE', key).ok
  if is ~= right and is ~= 'none' then
    redis.call('UNLINK', key)
    damaged = damaged + 1
  end
end
