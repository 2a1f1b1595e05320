-- Appends messages to a topic's stream and sends each to the live subscribers of the topic.
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

local reached = {}
for i = 4, #ARGV, 2 do
  local message, key = ARGV[i], ARGV[i + 1]
  if key == '' then
    redis.call('XADD', stream, '*', 'data', message)
  else
    redis.call('XADD', stream, '*', 'key', key, 'data', message)
  end
  reached[#reached + 1] = redis.call(publish, live, message)
end
redis.call('PUBLISH', wake, '')
return reached
