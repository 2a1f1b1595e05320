-- A page of a user's list, in the order of the list. An entry that exists all the time is on at least one page, because entries move to
-- the end only.
--
-- KEYS[1]  sorted set  the user's list: session id by the ms of server time at which the session was last known to exist
-- ARGV[1]  text   the last id of the page before, or '' at the start
-- ARGV[2]  ms     the time of this id then
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
