-- Damaged records that this script found, in pairs: the part, and the id or key it belongs to.
local damages

local function note_damage(part, of)
  damages = damages or {}
  damages[#damages + 1] = part
  damages[#damages + 1] = string.sub(of, 1, 1024)
end

-- Executes a command that survives damaged keys. A key of another type is removed, and so is a stream that takes no more entries:
-- then the command finds the key empty, and a repair restores what it can. A counter that is no number starts again.
local call
call = function(name, key, ...)
  local reply = redis.pcall(name, key, ...)
  local err = type(reply) == 'table' and reply.err
  if not err then
    return reply
  end
  if find(err, 'WRONGTYPE', 1, true) or find(err, 'exhausted the last possible ID', 1, true) then
    redis.call('UNLINK', key)
    note_damage('key', key)
    call('HSET', META, 'mend', '1 0')
  elseif name == 'HINCRBY' then
    local field = ...
    redis.call('HSET', key, field, field == 'events' and '0' or integer(now_us))
    note_damage('counter', field)
  end
  return redis.call(name, key, ...)
end

-- The next number of `counter`. It grows strictly, also after a flush, as long as the server's clock does not go back.
local function token(counter)
  local next = math.max(number(call('HGET', META, counter)) + 1, now_us)
  call('HSET', META, counter, integer(next))
  return integer(next)
end

-- The id of the last event that this script wrote.
local last_event

-- Every script ends with `done`. It returns `value`, or {'damaged', {part, of what, …}, value} where the script found and removed
-- damaged records.
local function done(value)
  if last_event then
    call('PUBLISH', WAKE, last_event)
  end
  return damages and { 'damaged', damages, value } or value
end
