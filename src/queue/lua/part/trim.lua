-- Keeps the `most` newest of a sorted set of finished jobs, and those not older than `age` ms; -1 is no bound. Of 1 000 and more a
-- twentieth more stay, at most 100, until they go together: a few calls for all of them, not for each. One script removes at most 150 by
-- each bound, which is more than it settles.
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
    -- The parent of a completed child has its result; that of a failed one may wait for it to be retried.
    for from = 1, #ids, 1000 do
      local bodies = call('HMGET', jobs, unpack(ids, from, math.min(from + 999, #ids)))
      for i = 1, #bodies do
        removed(ids[from + i - 1], bodies[i])
      end
    end
  end
  forget(ids)
end
