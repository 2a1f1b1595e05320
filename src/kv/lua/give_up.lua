-- Deletes what is held by a token.
--
-- KEYS[1]  string  the token of who has it
-- ARGV[1]  token   the caller's
--
-- Returns 1 when it was deleted, 0 when the caller had it no more.
local key = KEYS[1]
local token = ARGV[1]

if redis.call('GET', key) ~= token then
  return 0
end
redis.call('DEL', key)
return 1
