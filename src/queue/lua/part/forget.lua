-- Removes all that is known of jobs, but not their places in lists and sets.
local function forget(ids)
  for from = 1, #ids, 1000 do
    local to = math.min(from + 999, #ids)
    local fields, keys = {}, {}
    for i = from, to do
      local n = #fields
      fields[n + 1] = 'p' .. ids[i]
      fields[n + 2] = 's' .. ids[i]
      keys[n + 1] = log_of .. ids[i]
      keys[n + 2] = kids_of .. ids[i]
    end
    call('HDEL', jobs, unpack(ids, from, to))
    call('HDEL', run, unpack(ids, from, to))
    call('HDEL', more, unpack(fields))
    call('UNLINK', unpack(keys))
  end
end
-- Keeps the `most` newest of a sorted set of finished jobs, and those not older than `age` ms; -1 is no bound. Of 1 000 and more a
-- twentieth more stay, at most 100, until they go together: a few calls for all of them, not for each.
local function trim(set, most, age)
  local ids = {}
  if most >= 0 then
    local over = call('ZCARD', set) - most
    if over > (most < 1000 and 0 or math.min(most / 20, 100)) then
      local popped = call('ZPOPMIN', set, math.min(over, 1000))
      for i = 1, #popped, 2 do
        ids[#ids + 1] = popped[i]
      end
    end
  end
  if age >= 0 then
    local old = call('ZRANGEBYSCORE', set, '-inf', string.format('(%.0f', now - age), 'LIMIT', 0, 1000)
    if old[1] then
      call('ZREM', set, unpack(old))
      for i = 1, #old do
        ids[#ids + 1] = old[i]
      end
    end
  end
  if ids[1] then
    forget(ids)
  end
end
