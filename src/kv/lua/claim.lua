-- Puts a token where there is none. Asking again with the same token gives the same answer, so an answer that was
-- lost can be asked for again.
--
-- KEYS[1]  string  the token of who has it
-- ARGV[1]  token   the caller's
-- ARGV[2]  ms      how long the caller has it for, unless it renews
--
-- Returns 1 when the caller has it, else 0.
local key = KEYS[1]
local token, lease = ARGV[1], ARGV[2]

local holder = redis.call('GET', key)
if holder and holder ~= token then
  return 0
end
redis.call('SET', key, token, 'PX', lease)
return 1
