-- The server's time, and short names of what every script calls: a local costs less than a field of a table.
local call, sub, match = redis.call, string.sub, string.match
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = string.format('%.0f', now)

-- A stored whole number; nil where it is damaged.
local function whole(text)
  local n = tonumber(text or nil)
  if n and n > -1e15 and n < 1e15 then
    return n
  end
  return nil
end
-- `HINCRBY` of a number that may be damaged. A damaged one starts again at 0.
local function count_up(key, field, by)
  local n = redis.pcall('HINCRBY', key, field, by)
  if type(n) == 'table' then
    call('HDEL', key, field)
    n = call('HINCRBY', key, field, by)
  end
  return n
end
-- Counts damage that was found. The next renewal of any worker reports it; the first damage asks all workers to renew now, by the wake-up 'c'.
local function count_damage()
  if count_up(meta, 'mended', 1) == 1 then
    call('PUBLISH', sub(wake_of, 1, -2), 'c')
  end
end
-- `call` on a key that a stranger may have overwritten, where the script must not stop half-way: a key of another type is deleted first.
local function safe_call(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if not string.find(reply.err, 'WRONGTYPE', 1, true) then
      error(reply.err)
    end
    call('UNLINK', (select(2, ...)))
    count_damage()
    reply = call(...)
  end
  return reply
end
