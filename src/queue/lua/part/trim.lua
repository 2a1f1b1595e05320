-- Keeps the `most` newest of a sorted set of finished jobs, and those not older than `age` ms; -1: no bound. From a bound of 1 000 on, up
-- to a twentieth more are kept, at most 100, and removed together: that takes a few calls for all of them. One script removes at most 150
-- by each bound, which is more than it settles.
trim = function(set, most, age)
  local ids = {}
  if most >= 0 then
    local over = call('ZCARD', set) - most
    if over > (most < 1000 and 0 or math.min(most / 20, 100)) then
      local popped = call('ZPOPMIN', set, math.min(over, 150))
      for i = 1, #popped, 2 do
        ids[#ids + 1] = popped[i]
      end
    end
  end
  if age >= 0 then
    local old = call('ZRANGEBYSCORE', set, '-inf', string.format('(%.0f', now - age), 'LIMIT', 0, 150)
    if old[1] then
      call('ZREM', set, unpack(old))
      for i = 1, #old do
        ids[#ids + 1] = old[i]
      end
    end
  end
  if not ids[1] then
    return
  end
  if set == failed then
    -- A parent may wait for a failed child to be retried. Of a completed child it has the result.
    for from = 1, #ids, 1000 do
      local bodies = call('HMGET', jobs, unpack(ids, from, math.min(from + 999, #ids)))
      for i = 1, #bodies do
        failed_job_removed(ids[from + i - 1], bodies[i])
      end
    end
  end
  delete_jobs(ids)
end
