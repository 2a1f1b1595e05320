-- Renews the caller's token.
--
-- KEYS[1]  string  the token of the holder
-- ARGV[1]  token   the caller's
-- ARGV[2]  ms      how long the token lasts from now
--
-- Returns 1 if the token was renewed, 0 if the key no longer has the caller's token.
local key = KEYS[1]
local token, lease = ARGV[1], ARGV[2]

if redis.call('GET', key) ~= token then
  return 0
end
redis.call('PEXPIRE', key, lease)
return 1
