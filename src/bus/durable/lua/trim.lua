-- Trims a topic's stream to a length and an age, and never what one of its groups has not acknowledged.
--
-- KEYS[1]  stream  the topic
-- ARGV[1]  number  messages to keep
-- ARGV[2]  ms      how long to keep them
--
-- Returns how many were removed.
local stream = KEYS[1]
local length, age = tonumber(ARGV[1]), tonumber(ARGV[2])

local function pad(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

local info = redis.pcall('XINFO', 'STREAM', stream)
if info.err then
  return 0
end
-- Everything before `needed` is acknowledged by every group.
local needed = field(info, 'last-generated-id')
for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local first = field(group, 'last-delivered-id')
  if field(group, 'pending') > 0 then
    first = redis.call('XPENDING', stream, field(group, 'name'))[2] or first
  end
  if pad(first) < pad(needed) then
    needed = first
  end
end

-- Whole nodes of the stream, so that trimming costs little.
local removed = 0
local excess = field(info, 'length') - length
if excess > 0 then
  removed = redis.call('XTRIM', stream, 'MINID', '~', needed, 'LIMIT', math.min(excess, 100000))
end
local time = redis.call('TIME')
local oldest = string.format('%.0f-0', math.max(0, tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - age))
if pad(needed) < pad(oldest) then
  oldest = needed
end
return removed + redis.call('XTRIM', stream, 'MINID', '~', oldest, 'LIMIT', 100000)
