-- A page of a user's list, in its order. An entry that is there all the time is on some page: entries move to the end only.
--
-- KEYS[1]  sorted set  the user's list: session id by the ms of server time at which it was last known to be there
-- ARGV[1]  text   the last id of the page before; '' begins
-- ARGV[2]  ms     its time then
-- ARGV[3]  count  how many
--
-- Returns ids and times in turn.
local list = KEYS[1]
local last, at, count = ARGV[1], ARGV[2], tonumber(ARGV[3])

local first = 0
if last ~= '' then
  local score = redis.call('ZSCORE', list, last)
  if score and tonumber(score) == tonumber(at) then
    first = redis.call('ZRANK', list, last) + 1
  else
    first = redis.call('ZCOUNT', list, '-inf', '(' .. at)
  end
end
return redis.call('ZRANGE', list, first, first + count - 1, 'WITHSCORES')
