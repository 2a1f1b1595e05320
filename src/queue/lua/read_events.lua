-- Reads the events after the last that a subscriber has read, and has events written for some time to come.
--
-- KEYS[1]  stream   events: ids are whole numbers, one after another
-- KEYS[2]  hash     meta
-- ARGV[1]  integer  the number of the last event that was read; -1: start with the next event
-- ARGV[2]  ms       for how long events are to be written
-- ARGV[3]  count    entries at most
-- ARGV[4]  token    of the events that the number counts: an obliterated queue counts from the start, with another token
-- ARGV[5]  token    for events without a token
--
-- Returns { number of the last event read, entries missed or -1 where that is unknown, token, { number, fields and values … } … }. Where it
-- returns no entry, the next script that writes events publishes a wake-up.
local events, meta = KEYS[1], KEYS[2]
local last, keep, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- In `meta`: until when events are written, the number of the last event, the token of the events.
local known = call('HMGET', meta, 'heard', 'told', 'born')
local function whole(text)
  local n = tonumber(text or nil)
  return n and n > -1e15 and n < 1e15 and n or nil
end
local written_until, newest, token = whole(known[1]) or 0, whole(known[2]), known[3]
if not newest then
  call('HDEL', meta, 'told')
  newest = 0
end
if not token then
  token = ARGV[5]
  call('HSET', meta, 'born', token)
end
if written_until < now + keep then
  call('HSET', meta, 'heard', string.format('%.0f', now + keep))
end
if last < 0 or token ~= ARGV[4] then
  local missed = last < 0 and 0 or -1
  call('HSET', meta, 'asleep', 1)
  return { newest, missed, token }
end
if newest < last then
  -- The server lost its last writes.
  call('HSET', meta, 'asleep', 1)
  return { newest, -1, token }
end
local missed = written_until <= now and -1 or 0
local answer = { last, missed, token }
local values = 0
-- A few at a time: an entry may have a thousand events.
repeat
  local entries = call('XRANGE', events, string.format('%.0f-0', answer[1] + 1), '+', 'COUNT', math.min(4, most))
  for i = 1, #entries do
    local number, fields = tonumber(string.match(entries[i][1], '^%d+')), entries[i][2]
    if answer[2] >= 0 and number > answer[1] + 1 then
      answer[2] = answer[2] + number - answer[1] - 1
    end
    answer[1] = number
    values = values + #fields
    table.insert(fields, 1, string.format('%.0f', number))
    answer[#answer + 1] = fields
  end
  most = most - #entries
until #entries < 4 or most <= 0 or values > 4000
if #answer == 3 then
  if answer[2] >= 0 and newest > last then
    answer[2] = answer[2] + newest - last
  end
  answer[1] = newest
  call('HSET', meta, 'asleep', 1)
end
return answer
