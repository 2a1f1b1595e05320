-- Makes the caller the one who loads a cached value, unless the value is fresh or another one loads it. The mark of a load
-- says who loads and what stood at the key when the load began.
-- Asking again with the same token gives the same answer, so an answer that was lost can be asked for again.
--
-- KEYS[1]  string  the value
-- KEYS[2]  hash    the mark of a load. token: whose; found: what stood at the key; expires: ms of server time, or ''
-- ARGV[1]  token   the caller's
-- ARGV[2]  ms      how long the caller has it for, unless it renews
-- ARGV[3]  ms      a value is stale when it has at most this much left
--
-- Returns {'load'}: the caller loads; {'fresh', value}; {'stale', value}: another one loads; {'wait'}: another one
-- loads and there is no value yet.
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
