-- What the end of a job means beyond itself: its dedupe id is free, and those that wait for it wait for one child less, or fail.
--
-- `with` is decoded JSON: o: key of the dedupe id; u: ms until which it is held though the job is over; p: {id of the parent, name of this
-- child there}, in this queue; x: {queue, id of the parent, name of this child there}, in another one, which is told by a message.
-- A job that was there when others were added that wait for it has them in a sorted set, as JSON; `shared` in `meta` says of how many jobs.
local mailed = 0
local STATE = '^(.)|[^|]*|(%d+)|(%d+)|(%d*)|%d*|(%d*)|([^\n]*)\n'
local HEAD = '^%d+ (%d+) (%d+) (%d+) %d+\n()'
-- Are there such jobs? nil: nobody has looked.
local shared = nil
local function are_shared()
  if shared == nil then
    shared = (tonumber(call('HGET', meta, 'shared')) or 0) > 0
  end
  return shared
end

-- The options that a job was added with, and the JSON that names its parent or nothing.
local function added_with(body)
  local name, options, parent, from = match(body or '', HEAD)
  if not name then
    return {}, ''
  end
  local first = from + tonumber(name)
  local after = first + tonumber(options)
  local read, chosen = pcall(cjson.decode, sub(body, first, after - 1))
  return read and type(chosen) == 'table' and chosen or {}, sub(body, after, after + tonumber(parent) - 1)
end
local function named(parent)
  local read, names = pcall(cjson.decode, parent)
  if not read or type(names) ~= 'table' then
    return {}
  end
  return #names == 2 and { p = names } or { x = names }
end

-- Has a job fail that no worker holds; kept as its options say.
local function fail(id, attempts, stalls, priority, group, reason)
  local keep = added_with(call('HGET', jobs, id)).keepFailed
  tell('f', id, cjson.encode({ reason = reason }))
  if keep == false or type(keep) == 'table' and keep.count == 0 then
    return forget({ id })
  end
  call('HSET', run, id, 'f||' .. attempts .. '|' .. stalls .. '|0|' .. now_text .. '|' .. priority .. '|' .. group .. '\n' .. reason)
  call('ZADD', failed, now_text, id)
  if type(keep) == 'table' then
    trim(failed, keep.count or -1, keep.ageMs or -1)
  elseif keep == nil then
    -- As `Keep::FAILED` in src/queue/options.rs.
    trim(failed, 10000, -1)
  end
end

-- Frees the dedupe id of a job that is over.
local function free(id, with, how)
  local holder = with.o and call('GET', with.o)
  if not holder or match(holder, '^[^\n]*') ~= id then
    return
  end
  if how ~= 'r' and with.u and with.u > now then
    call('SET', with.o, id .. '\n' .. how, 'PX', string.format('%.0f', with.u - now))
    local holding = kids_of .. '\2'
    call('ZREMRANGEBYSCORE', holding, '-inf', now_text)
    call('ZADD', holding, string.format('%.0f', with.u), with.o)
  else
    call('DEL', with.o)
  end
end
-- A job that was over and waits again holds its dedupe id, unless another one does.
local function hold(id, key)
  local holder = key and call('GET', key)
  if key and (not holder or match(holder, '^[^\n]*') == id) then
    call('SET', key, id)
  end
end

-- Tells a parent of this queue how a child has ended. Gives what its own end means, and why, where it fails for that.
local function tell_parent(parent, name, how, value)
  local kids = kids_of .. parent
  if call('HGET', kids, name) ~= 'p' then
    return nil
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
    return nil
  end
  if how == 'f' then
    local reason = 'child ' .. name .. ' failed: ' .. value
    local above = call('HGET', kids, '\1')
    call('ZREM', parked, parent)
    fail(parent, attempts, stalls, priority, group, reason)
    return above and cjson.decode(above) or {}, reason
  end
  if left <= 0 then
    call('HSET', run, parent, 'w||' .. attempts .. '|' .. stalls .. '|0|0|' .. priority .. '|' .. group .. '\n')
    call('ZREM', parked, parent)
    enter(parent, tonumber(priority) or 0, group, false)
  end
  return nil
end

local function others_of(id)
  return kids_of .. '\1' .. id
end
-- All that wait for a job.
local function parents_of(id, with)
  local parents = { with }
  local others = are_shared() and call('ZRANGE', others_of(id), 0, -1) or {}
  if others[1] then
    call('UNLINK', others_of(id))
    call('HINCRBY', meta, 'shared', -1)
    for i = 1, #others do
      parents[i + 1] = named(others[i])
    end
  end
  return parents
end

-- Tells `parents` how a child of theirs has ended, and those above them where they fail for it.
local function pass_on(id, parents, how, value)
  local news = { { id, parents, how, value } }
  while news[1] do
    id, parents, how, value = unpack(table.remove(news))
    for _, parent in ipairs(parents) do
      if parent.x then
        local message = { t = 'child', q = parent.x[1], id = parent.x[2], name = parent.x[3], how = how, value = value }
        call('HSET', outbox, 'c' .. call('HINCRBY', meta, 'mail', 1), cjson.encode(message))
        mailed = mailed + 1
      elseif parent.p then
        local above, reason = tell_parent(parent.p[1], parent.p[2], how, value)
        if above then
          free(parent.p[1], above, 'f')
          news[#news + 1] = { parent.p[1], parents_of(parent.p[1], above), 'f', reason }
        end
      end
    end
  end
end

-- A job has ended: 'c' completed, with its result; 'f' failed, with the reason; 'r' removed.
local function ended(id, with, how, value)
  with = with or {}
  free(id, with, how)
  pass_on(id, parents_of(id, with), how, value)
end
