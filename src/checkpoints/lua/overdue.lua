-- The threads of one share whose owners' leases have ended, the longest overdue first. Wrong entries of the share's list are corrected.
--
-- KEYS[1]  text        states: how the keys of all states of the share begin
-- KEYS[2]  sorted set  due: owned threads of the share, by the end of their lease; '' without an end, where none is missing
-- KEYS[3]  sorted set  threads: threads of the share
-- ARGV[1]  count       at most
-- ARGV[2]  number      how many are passed over
--
-- Returns {ms until the next lease of the share ends or -1, how many were looked at, {thread, worker, epoch, when it was interrupted, how often
-- it was before, ms of the lease, 1 where its end is certain, …}, 1 where Redis has lost the list, which is to be made again}.
local STATES, DUE, THREADS = KEYS[1], KEYS[2], KEYS[3]
local most, passed = ARGV[1], ARGV[2]

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = {}
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', passed, most)
for _, thread in ipairs(due) do
  local state = STATES .. thread
  local head = redis.call('HMGET', state, 'owner', 'ends', 'worker', 'epoch', 'times', 'lease', 'crashed', 'run')
  local ends, lease = tonumber(head[2] or nil), tonumber(head[6] or 0)
  if not head[1] or not ends then
    redis.call('ZREM', DUE, thread)
  elseif ends > now then
    redis.call('ZADD', DUE, head[2], thread)
  elseif head[7] or not renewed_by_mastership(state, DUE, thread, head[8], lease, now) then
    local more = { thread, head[3] or '', tonumber(head[4] or 0), ends, tonumber(head[5] or 0), lease, head[7] and 1 or 0 }
    for at = 1, #more do
      found[#found + 1] = more[at]
    end
  end
end
local next = redis.call('ZRANGEBYSCORE', DUE, '(' .. now, '(inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
local is_lost = not redis.call('ZSCORE', DUE, '') and redis.call('EXISTS', THREADS) == 1
return { next and tonumber(next) - now or -1, #due, found, is_lost and 1 or 0 }
