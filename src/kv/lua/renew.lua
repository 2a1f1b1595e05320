-- Renews what is held by a token.
--
-- KEYS[1]  string  the token of who has it
-- ARGV[1]  token   the caller's
-- ARGV[2]  ms      how long the caller has it for, from now
--
-- Returns 1 when it was renewed, 0 when the caller has it no more.
local key = KEYS[1]
local token, lease = ARGV[1], ARGV[2]

if redis.call('GET', key) ~= token then
  return 0
end
redis.call('PEXPIRE', key, lease)
return 1
