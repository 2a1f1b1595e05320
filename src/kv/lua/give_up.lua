-- Deletes the caller's token.
--
-- KEYS[1]  string  the token of the holder
-- ARGV[1]  token   the caller's
--
-- Returns 1 if the token was deleted, 0 if the key no longer has the caller's token.
local key = KEYS[1]
local token = ARGV[1]

if redis.call('GET', key) ~= token then
  return 0
end
redis.call('DEL', key)
return 1
