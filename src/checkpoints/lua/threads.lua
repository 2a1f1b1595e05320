-- A part of the threads of one share that have a checkpoint. Those that are gone leave its list.
--
-- KEYS[1]  text        states: how the keys of all states of the share begin
-- KEYS[2]  sorted set  threads: threads of the share, by when they expire, or inf
-- ARGV[1]  cursor      of ZSCAN
-- ARGV[2]  text        how they begin
--
-- Returns {the next cursor, {thread, …}}.
local STATES, THREADS = KEYS[1], KEYS[2]
local cursor, prefix = ARGV[1], ARGV[2]

local page = redis.call('ZSCAN', THREADS, cursor, 'COUNT', 200)
local found = {}
for at = 1, #page[2], 2 do
  local thread = page[2][at]
  -- A thread with pending writes alone has not saved anything.
  if redis.call('HEXISTS', STATES .. thread, 'seq') == 1 then
    if string.sub(thread, 1, #prefix) == prefix then
      found[#found + 1] = thread
    end
  elseif redis.call('EXISTS', STATES .. thread) == 0 then
    redis.call('ZREM', THREADS, thread)
  end
end
return { page[1], found }
