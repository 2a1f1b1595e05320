-- The threads of a worker whose registration is over are interrupted at once; 64 at most.
--
-- KEYS[1]  text        states: how the keys of all states of the share begin
-- KEYS[2]  sorted set  due: owned threads of the share, by the end of their lease
-- KEYS[3]  sorted set  workers: worker, NUL, thread
-- ARGV[1]  text        the worker
-- ARGV[2]  number      the epoch that is over, as is every smaller one
--
-- Returns how many were interrupted.
local STATES, DUE, WORKERS = KEYS[1], KEYS[2], KEYS[3]
local worker, epoch = ARGV[1], tonumber(ARGV[2])

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local count = 0
for _, member in ipairs(redis.call('ZRANGEBYLEX', WORKERS, '[' .. worker .. '\0', '(' .. worker .. '\1', 'LIMIT', 0, 64)) do
  local thread = string.sub(member, #worker + 2)
  local head = redis.call('HMGET', STATES .. thread, 'owner', 'worker', 'epoch', 'ends')
  local its_epoch = tonumber(head[3] or nil)
  local is_its = head[1] and head[2] == worker
  if not is_its or (its_epoch and its_epoch <= epoch) then
    redis.call('ZREM', WORKERS, member)
  end
  if is_its and its_epoch and its_epoch <= epoch then
    redis.call('HSET', STATES .. thread, 'ends', now, 'crashed', '1')
    redis.call('ZADD', DUE, now, thread)
    count = count + 1
  end
end
return count
