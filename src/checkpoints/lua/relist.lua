-- Makes the lists of owned threads of a share again, from the list of its threads: a part of them.
--
-- KEYS[1]  text        states: how the keys of all states of the share begin
-- KEYS[2]  sorted set  due: owned threads of the share, by the end of their lease; '' without an end, where none is missing
-- KEYS[3]  sorted set  threads: threads of the share, by when they expire, or inf
-- KEYS[4]  sorted set  workers: worker, NUL, thread
-- ARGV[1]  cursor      of ZSCAN
--
-- Returns the next cursor; '0' after the last part.
local STATES, DUE, THREADS, WORKERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local page = redis.call('ZSCAN', THREADS, ARGV[1], 'COUNT', 100)
for at = 1, #page[2], 2 do
  local thread = page[2][at]
  local head = redis.call('HMGET', STATES .. thread, 'owner', 'ends', 'worker')
  if head[1] and head[2] then
    redis.call('ZADD', DUE, head[2], thread)
    if head[1] ~= '-' and head[3] then
      redis.call('ZADD', WORKERS, 0, head[3] .. '\0' .. thread)
    end
  end
end
if page[1] == '0' then
  redis.call('ZADD', DUE, 'inf', '')
  local last = redis.call('ZREVRANGE', THREADS, 0, 0, 'WITHSCORES')[2]
  for _, list in ipairs(last and last ~= 'inf' and { DUE, WORKERS } or {}) do
    redis.call('PEXPIREAT', list, last)
  end
end
return page[1]
