-- Appends messages to a topic's stream and sends each to the live subscribers of the topic; where it may not send, it appends nothing.
--
-- KEYS[1]  stream   the topic
-- ARGV[1]  text     PUBLISH or SPUBLISH
-- ARGV[2]  channel  of the live messages
-- ARGV[3]  channel  wakes the topic's consumers
-- rest     pairs    message, key ('' for none)
--
-- Returns how many live subscribers each message reached.
local stream = KEYS[1]
local publish, live, wake = ARGV[1], ARGV[2], ARGV[3]

-- Before anything is written: a user may have no right to it. Nobody hears of it before the script is over.
redis.call('PUBLISH', wake, '')
local reached = {}
for i = 4, #ARGV, 2 do
  local message, key = ARGV[i], ARGV[i + 1]
  local id
  if key == '' then
    id = redis.call('XADD', stream, '*', 'data', message)
  else
    id = redis.call('XADD', stream, '*', 'key', key, 'data', message)
  end
  -- Appended first, since that fails for more reasons; and what was sent cannot be taken back.
  local sent = redis.pcall(publish, live, message)
  if type(sent) == 'table' then
    -- No right to the channel, no SPUBLISH before Redis 7, or a channel of another slot: so it is from the first message on.
    redis.call('XDEL', stream, id)
    if redis.call('XLEN', stream) == 0 and #redis.call('XINFO', 'GROUPS', stream) == 0 then
      redis.call('DEL', stream)
    end
    return sent
  end
  reached[#reached + 1] = sent
end
return reached
