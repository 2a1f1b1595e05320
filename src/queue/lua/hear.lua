-- Reads events from where a listener stands, and has events written for some time to come.
--
-- KEYS[1]  stream   events: ids are whole numbers, one after another
-- KEYS[2]  hash     meta
-- ARGV[1]  integer  the number of the last event that was read; -1: begin with the next one
-- ARGV[2]  ms       for how long events are to be written
-- ARGV[3]  count    entries at most
-- ARGV[4]  token    which events the number is of: those of a queue that was obliterated are others
-- ARGV[5]  token    for events that have none
--
-- Returns { number of the last event read, entries missed or -1 where nobody knows, token, { number, fields and values … } … }.
local events, meta = KEYS[1], KEYS[2]
local last, keep, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local known = call('HMGET', meta, 'heard', 'told', 'born')
local function whole(text)
  local n = tonumber(text or nil)
  return n and n > -1e15 and n < 1e15 and n or nil
end
local heard, told, born = whole(known[1]) or 0, whole(known[2]), known[3]
if not told then
  call('HDEL', meta, 'told')
  told = 0
end
if not born then
  born = ARGV[5]
  call('HSET', meta, 'born', born)
end
if heard < now + keep then
  call('HSET', meta, 'heard', string.format('%.0f', now + keep))
end
if last < 0 or born ~= ARGV[4] then
  local missed = last < 0 and 0 or -1
  call('HSET', meta, 'asleep', 1)
  return { told, missed, born }
end
if told < last then
  -- The server came back without what it had written last.
  call('HSET', meta, 'asleep', 1)
  return { told, -1, born }
end
local missed = heard <= now and -1 or 0
local answer = { last, missed, born }
local values = 0
-- A few at a time: an entry may be of a thousand events.
repeat
  local entries = call('XRANGE', events, string.format('%.0f-0', answer[1] + 1), '+', 'COUNT', math.min(4, most))
  for i = 1, #entries do
    local number, told_of = tonumber(string.match(entries[i][1], '^%d+')), entries[i][2]
    if answer[2] >= 0 and number > answer[1] + 1 then
      answer[2] = answer[2] + number - answer[1] - 1
    end
    answer[1] = number
    values = values + #told_of
    table.insert(told_of, 1, string.format('%.0f', number))
    answer[#answer + 1] = told_of
  end
  most = most - #entries
until #entries < 4 or most <= 0 or values > 4000
if #answer == 3 then
  if answer[2] >= 0 and told > last then
    answer[2] = answer[2] + told - last
  end
  answer[1] = told
  call('HSET', meta, 'asleep', 1)
end
return answer
