-- What the end of a job means beyond itself: its dedupe id is free, its parent waits for one child less, or fails.
--
-- `with` is decoded JSON: o: key of the dedupe id; p: {id of the parent, name of this child there}, in this queue;
-- x: {queue, id of the parent, name of this child there}, in another one: a message is left in the outbox.
local mailed = 0
local STATE = '^(.)|[^|]*|(%d+)|(%d+)|(%d*)|%d*|(%d*)|([^\n]*)\n'
local function ended(id, with, how, value)
  while with do
    if with.o and call('GET', with.o) == id then
      call('DEL', with.o)
    end
    if with.x then
      local message = { t = 'child', q = with.x[1], id = with.x[2], name = with.x[3], how = how, value = value }
      call('HSET', outbox, 'c' .. id, cjson.encode(message))
      mailed = mailed + 1
      return
    end
    if not with.p then
      return
    end
    local parent, name = with.p[1], with.p[2]
    local kids = kids_of .. parent
    if call('HGET', kids, name) ~= 'p' then
      return
    end
    if how == 'r' then
      call('HDEL', kids, name)
    else
      call('HSET', kids, name, how .. value)
    end
    local left = call('HINCRBY', kids, '', -1)
    local record = call('HGET', run, parent)
    local state, attempts, stalls, _, priority, group
    if record then
      state, attempts, stalls, _, priority, group = match(record, STATE)
    end
    if state ~= 'k' then
      return
    end
    if how == 'f' then
      local reason = 'child ' .. name .. ' failed: ' .. value
      call('HSET', run, parent, 'f||' .. attempts .. '|' .. stalls .. '|0|' .. now_text .. '|' .. priority .. '|' .. group .. '\n' .. reason)
      call('ZREM', parked, parent)
      call('ZADD', failed, now_text, parent)
      tell('f', parent, cjson.encode({ reason = reason }))
      local above = call('HGET', kids, '\1')
      id, with, value = parent, above and cjson.decode(above), reason
    else
      if left <= 0 then
        call('HSET', run, parent, 'w||' .. attempts .. '|' .. stalls .. '|0|0|' .. priority .. '|' .. group .. '\n')
        call('ZREM', parked, parent)
        enter(parent, tonumber(priority) or 0, group, false)
      end
      return
    end
  end
end
