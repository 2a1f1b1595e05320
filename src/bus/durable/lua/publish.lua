-- Appends messages to a topic's stream and publishes each to the live subscribers. If it may not publish, it appends nothing.
--
-- KEYS[1]  stream      the topic
-- KEYS[2]  number      the bytes that were appended to it, see count_appended.lua
-- KEYS[3]  sorted set  the same sum, up to some of its entries
-- KEYS[4]  sorted set  ids of the topic -> ms of server time until which they are not appended again; only with ARGV[4] and ARGV[5]
-- ARGV[1]  text        PUBLISH or SPUBLISH
-- ARGV[2]  channel     of the live messages
-- ARGV[3]  channel     wakes the topic's consumers
-- ARGV[4]  text        the id of the only message; only with KEYS[4]
-- ARGV[5]  ms          how long the id is not appended again
-- rest     pairs       message, key ('' for none)
--
-- Returns how many live subscribers received each message; 0 for an id that was appended before.
local stream, appended, sizes, seen = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local publish, live, wake = ARGV[1], ARGV[2], ARGV[3]
local first, now = 4, nil

if seen then
  first = 6
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local is = redis.call('TYPE', seen).ok
  if is ~= 'zset' and is ~= 'none' then
    -- Not written by this package; it must not stop the topic.
    redis.call('DEL', seen)
  end
  if (tonumber(redis.call('ZSCORE', seen, ARGV[4]) or '') or 0) > now then
    return { 0 }
  end
end

-- Before anything is written, because the user may have no right to the channel. Subscribers receive it after the script.
redis.call('PUBLISH', wake, '')
local reached, bytes, last = {}, 0, nil
for i = first, #ARGV, 2 do
  local message, key = ARGV[i], ARGV[i + 1]
  local id
  if key == '' then
    id = redis.call('XADD', stream, '*', 'data', message)
  else
    id = redis.call('XADD', stream, '*', 'key', key, 'data', message)
  end
  -- Appended before it is published: appending fails for more reasons, and a published message cannot be taken back.
  local sent = redis.pcall(publish, live, message)
  if type(sent) == 'table' then
    -- No right to the channel, no SPUBLISH before Redis 7, or a channel of another slot: the first message fails already.
    redis.call('XDEL', stream, id)
    if redis.call('XLEN', stream) == 0 and #redis.call('XINFO', 'GROUPS', stream) == 0 then
      redis.call('DEL', stream)
    end
    return sent
  end
  reached[#reached + 1] = sent
  bytes, last = bytes + #message + #key + (key == '' and 4 or 7), id
end
count_appended(appended, sizes, bytes, last)
if seen then
  local window = tonumber(ARGV[5])
  local over = redis.call('ZRANGEBYSCORE', seen, '-inf', now, 'LIMIT', 0, 100)
  if #over > 0 then
    redis.call('ZREM', seen, unpack(over))
  end
  redis.call('ZADD', seen, now + window, ARGV[4])
  if redis.call('PTTL', seen) < window then
    redis.call('PEXPIRE', seen, window)
  end
end
return reached
