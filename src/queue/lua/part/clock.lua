-- The server's time, and what every script calls by a short name: a local costs less than a look into a table.
local call, sub, match = redis.call, string.sub, string.match
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = string.format('%.0f', now)

-- A whole number out of what is stored; nil where it is damaged.
local function whole(text)
  local n = tonumber(text or nil)
  if n and n > -1e15 and n < 1e15 then
    return n
  end
  return nil
end
-- `HINCRBY` of a number that may be damaged: then it starts again.
local function count_up(key, field, by)
  local n = redis.pcall('HINCRBY', key, field, by)
  if type(n) == 'table' then
    call('HDEL', key, field)
    n = call('HINCRBY', key, field, by)
  end
  return n
end
-- Counts what was found damaged, for the worker that renews next: that is now, where nobody was asked to yet.
local function mended()
  if count_up(meta, 'mended', 1) == 1 then
    call('PUBLISH', sub(wake_of, 1, -2), 'c')
  end
end
-- `call` on a key that somebody may have written over, where the script must not end half-way: where it is of another type it goes.
local function own(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if not string.find(reply.err, 'WRONGTYPE', 1, true) then
      error(reply.err)
    end
    call('UNLINK', (select(2, ...)))
    mended()
    reply = call(...)
  end
  return reply
end
