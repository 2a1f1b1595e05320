-- Who leads a role, as the scripts of elections read it. A field that is no number counts as 0, and a key of another type, which
-- somebody else has written, as none.
--
-- KEYS[1]  hash  owner: who leads; until: ms of server time; lease: how long from a renewal, ms; token: the last fencing token
local key = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

local function number(text)
  local value = tonumber(text or 0)
  return value and value >= 0 and value <= 9007199254740991 and value or 0
end

local fields = redis.pcall('HMGET', key, 'owner', 'until', 'lease', 'token')
if fields.err then
  redis.call('UNLINK', key)
  fields = {}
end
local leader, ends, length, last = fields[1], number(fields[2]), number(fields[3]), number(fields[4])
