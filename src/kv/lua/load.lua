-- Lets the caller load a cached value, unless the value is fresh or another caller loads it. The mark of a load has the loader's
-- token and the state of the key when the load started.
-- The same token gets the same answer again, so the call may be repeated after a lost answer.
--
-- KEYS[1]  string  the value
-- KEYS[2]  hash    the mark of a load. token: the loader's; found: the state of the key; expires: ms of server time, or ''
-- ARGV[1]  token   the caller's
-- ARGV[2]  ms      how long the mark lasts unless it is renewed
-- ARGV[3]  ms      a value is stale if at most this much of its time is left
--
-- Returns {'load'}: the caller loads; {'fresh', value}; {'stale', value}: another caller loads; {'wait'}: another caller loads and
-- there is no value yet.
local value_key, mark_key = KEYS[1], KEYS[2]
local token, lease, stale = ARGV[1], ARGV[2], tonumber(ARGV[3])

local value = redis.call('GET', value_key)
if value then
  local left = redis.call('PTTL', value_key)
  if left == -1 or left > stale then
    return { 'fresh', value }
  end
end
local loader = redis.call('HGET', mark_key, 'token')
if loader and loader ~= token then
  if value then
    return { 'stale', value }
  end
  return { 'wait' }
end
local was, expires = found(value_key)
redis.call('HSET', mark_key, 'token', token, 'found', was, 'expires', expires and string.format('%.0f', expires) or '')
redis.call('PEXPIRE', mark_key, lease)
return { 'load' }
