-- How far groups of one topic are, and who consumes them.
--
-- KEYS[1]  stream       the topic
-- rest     sorted sets  of each group its consumers: name -> ms of server time when its lease ends
-- ARGV     texts        the groups, in the same order
--
-- Returns of each group that is there, flat: name, messages that it has not acknowledged, those of them that it has read, consumers that
-- are alive, ms of server time when one last did something or -1 where nobody ever has.
local stream = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local about = {}
for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  about[field(info, 'name')] = info
end
local found = {}
for i, name in ipairs(ARGV) do
  local info = about[name]
  if info then
    local set = KEYS[i + 1]
    local leases = redis.call('TYPE', set).ok == 'zset'
    local alive = leases and redis.call('ZCOUNT', set, '(' .. string.format('%.0f', now), '+inf') or 0
    local least
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, name)) do
      local idle = field(consumer, 'idle')
      least = math.min(least or idle, idle)
    end
    local pending, lag = field(info, 'pending'), field(info, 'lag')
    if type(lag) ~= 'number' then
      -- Before Redis 7, and after deletions, nobody counts; from 1000 on it is said to be 1000.
      lag = #redis.call('XRANGE', stream, '(' .. field(info, 'last-delivered-id'), '+', 'COUNT', 1000)
    end
    -- A consumer that lives and has nothing to do gives its signs by its lease alone.
    local active = alive > 0 and now or least and now - least or -1
    for _, value in ipairs({ name, pending + lag, pending, alive, active }) do
      found[#found + 1] = value
    end
  end
end
return found
