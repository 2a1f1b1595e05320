-- The leader of a role, for the scripts of elections. A field that is no number counts as 0; a key of another type is removed.
--
-- KEYS[1]  hash  owner: the leader; until: ms of server time; lease: its length in ms; token: the last fencing token
local key = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function integer(number)
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
