-- The consumers of groups of one topic, and the unread messages where the server does not count them.
--
-- KEYS[1]  stream       the topic
-- rest     sorted sets  the consumers of each group: name -> ms of server time when its lease ends
-- ARGV     pairs        for each group, in the same order: name, the last id that it has read where unread messages must be counted, or ''
--
-- Returns of each group, flat: messages after that id, at most 1000, or 0 without an id; consumers with a lease; ms of server time when a
-- consumer was last active, -1 for never. A group that does not exist has -1, 0, -1.
local stream = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local found = {}
for i = 1, #ARGV, 2 do
  local name, after = ARGV[i], ARGV[i + 1]
  local members = redis.pcall('XINFO', 'CONSUMERS', stream, name)
  local set = KEYS[(i + 1) / 2 + 1]
  local unread, alive, active = -1, 0, -1
  if not members.err then
    local leases = redis.call('TYPE', set).ok == 'zset'
    alive = leases and redis.call('ZCOUNT', set, '(' .. string.format('%.0f', now), '+inf') or 0
    local least
    for _, consumer in ipairs(members) do
      local idle = field(consumer, 'idle')
      least = math.min(least or idle, idle)
    end
    unread = after == '' and 0 or #redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', 1000)
    -- An idle consumer shows that it lives only by its lease.
    active = alive > 0 and now or least and now - least or -1
  end
  for _, value in ipairs({ unread, alive, active }) do
    found[#found + 1] = value
  end
end
return found
