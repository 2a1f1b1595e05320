-- The threads of a worker whose registration is over are interrupted at once. Looks at 64 of the share's at most.
--
-- KEYS[1]  text        states: how the keys of all states of the share begin
-- KEYS[2]  sorted set  due: owned threads of the share, by the end of their lease
-- KEYS[3]  sorted set  workers: worker, NUL, thread
-- ARGV[1]  text        the worker
-- ARGV[2]  number      the epoch that is over, as is every smaller one
-- ARGV[3]  text        the thread that was looked at last, or ''
--
-- Returns {how many were interrupted, the thread to go on after or nil where there is none left}.
local STATES, DUE, WORKERS = KEYS[1], KEYS[2], KEYS[3]
local worker, epoch, after = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local prefix, count, last = worker .. '\0', 0, nil
local members = redis.call('ZRANGEBYLEX', WORKERS, '(' .. prefix .. after, '(' .. worker .. '\1', 'LIMIT', 0, 64)
for _, member in ipairs(members) do
  local thread = string.sub(member, #prefix + 1)
  local head = redis.call('HMGET', STATES .. thread, 'owner', 'worker', 'epoch')
  local its_epoch = head[1] and head[2] == worker and tonumber(head[3] or nil)
  if not its_epoch then
    redis.call('ZREM', WORKERS, member)
  elseif its_epoch <= epoch then
    redis.call('ZREM', WORKERS, member)
    redis.call('HSET', STATES .. thread, 'ends', now, 'crashed', '1')
    redis.call('ZADD', DUE, now, thread)
    count = count + 1
  end
  last = thread
end
return { count, #members == 64 and last or false }
