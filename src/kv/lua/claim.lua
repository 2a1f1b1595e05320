-- Sets a token if there is none. The same token gets the same answer again, so the call may be repeated after a lost answer.
--
-- KEYS[1]  string  the token of the holder
-- ARGV[1]  token   the caller's
-- ARGV[2]  ms      how long the token lasts unless it is renewed
--
-- Returns 1 if the caller's token is set, else 0.
local key = KEYS[1]
local token, lease = ARGV[1], ARGV[2]

local holder = redis.call('GET', key)
if holder and holder ~= token then
  return 0
end
redis.call('SET', key, token, 'PX', lease)
return 1
