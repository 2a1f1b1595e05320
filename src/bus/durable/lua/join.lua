-- Makes a consumer a member of its group, and creates the group if there is none.
--
-- KEYS, ARGV[1..4]  see group.lua
-- ARGV[5]  id or $    the id after which a new group starts; $: the stream's last id
-- ARGV[6]  0 or 1     1: the group existed before and is gone, ARGV[5] is where it started. If the stream's last id is smaller, it is another
--                     stream, and the group reads all of it.
-- ARGV[7]  ms         its longest delay before a retry
--
-- Returns the id after which the group started.
local from, again, wait = ARGV[5], ARGV[6] == '1', tonumber(ARGV[7])

if again then
  local info = redis.pcall('XINFO', 'STREAM', stream)
  local last = not info.err and field(info, 'last-generated-id')
  if not last or pad(last) < pad(from) then
    from = '0-0'
  end
end
local made = redis.pcall('XGROUP', 'CREATE', stream, group, from, 'MKSTREAM')
if not made.err then
  -- Records of an earlier group with that name.
  redis.call('UNLINK', key_queues, due, parked, notes, consumers)
  if from == '$' then
    from = field(redis.call('XINFO', 'STREAM', stream), 'last-generated-id')
  end
  redis.call('HSET', notes, 'start', from)
elseif string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then
  return made
end
redis.call('ZADD', consumers, now + lease, me)
redis.call('XGROUP', 'CREATECONSUMER', stream, group, me)
redis.call('XGROUP', 'CREATECONSUMER', stream, group, WAITING)
for name, own in pairs({ lease = lease, wait = wait }) do
  if own > (tonumber(redis.call('HGET', notes, name) or '') or 0) then
    redis.call('HSET', notes, name, own)
  end
end
local start = redis.call('HGET', notes, 'start') or ''
return string.match(start, '^%d+%-%d+$') and #start < 42 and start or '0-0'
