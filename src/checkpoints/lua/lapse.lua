-- Ends an owner's lease now, for an owner that is gone without a word: the thread is interrupted.
--
-- KEYS[1]  hash  state: see part/base.lua
-- ARGV[1]  text  the owner's right, see parse_right in part/own.lua
--
-- Returns 1 when it was ended, 0 when the owner owned it no more.
local STATE = KEYS[1]
local right = ARGV[1]

if redis.call('HGET', STATE, 'owner') ~= string.match(right, '^%S+') then
  return 0
end
local time = redis.call('TIME')
redis.call('HSET', STATE, 'ends', string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)))
return 1
