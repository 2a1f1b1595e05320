-- A server that restarted, or was promoted, has heard of no owner yet: an owner that is alive had nobody to renew its lease with.

-- What names the time for which this server has been the master: a restart gives another name, and so does each promotion.
local function mastership()
  local told = redis.pcall('INFO', 'replication')
  return type(told) == 'string' and string.match(told, 'master_replid:(%w+)') or 'unknown'
end

-- Gives the owner of an overdue thread a lease of its own where another mastership than `run` heard of it last. Says whether it did.
local function renewed_by_mastership(state, due, thread, run, lease, now)
  local name = mastership()
  if run == name then
    return false
  end
  local ends = string.format('%.0f', now + lease)
  redis.call('HSET', state, 'run', name, 'ends', ends)
  redis.call('ZADD', due, ends, thread)
  return true
end
