-- What the end of a job means beyond itself: its dedupe id is free, and those that wait for it wait for one child less, or fail.
--
-- `with` is decoded JSON: o: key of the dedupe id; u: ms until which it is held though the job is over; p: {id of the parent, name of this
-- child there}, in this queue; x: {queue, id of the parent, name of this child there}, in another one, which is told by a message.
-- A job that was there when others were added that wait for it has them in a sorted set, as JSON; `shared` in `meta` says of how many jobs.
--
-- News of a child, and what they mean for its parent:
--
--   news                              the parent's record of it   a parent that waits for children
--   'c' completed                     its result                  waits for one less
--   'f' failed, and is kept           failed                      fails
--   'F' failed, and is gone           none                        fails
--   'r' removed, whatever it was      none                        waits for one less
--   'p' failed, and was retried       pending                     goes on waiting
--
-- A parent that failed and is retried waits again for the children that are pending or failed, and for a worker where there are none.
local mailed = 0
local STATE = '^([wadcfk])|[^|]*|(%d+)|(%d+)|(%d*)|%d*|(%d*)|([^\n]*)\n'
local HEAD = '^%d+ (%d+) (%d+) (%d+) %d+\n()'
-- Are there such jobs? nil: nobody has looked.
local shared = nil
local function are_shared()
  if shared == nil then
    shared = (whole(call('HGET', meta, 'shared')) or 0) > 0
  end
  return shared
end

-- The JSON of the options that a job was added with, and the JSON that names its parent or nothing.
local function parts_of(body)
  local name, options, parent, from = match(body or '', HEAD)
  if not name then
    return '', ''
  end
  local first = from + tonumber(name)
  local after = first + tonumber(options)
  return sub(body, first, after - 1), sub(body, after, after + tonumber(parent) - 1)
end
-- A decoded JSON object; an empty one where it is none.
local function object(text)
  local read, value = pcall(cjson.decode, text)
  return read and type(value) == 'table' and value or {}
end
-- The options that a job was added with, and the JSON that names its parent or nothing.
local function added_with(body)
  local options, parent = parts_of(body)
  return object(options), parent
end
local function named(parent)
  local names = object(parent)
  for i = 1, 3 do
    if type(names[i]) ~= 'string' then
      return i == 3 and { p = names } or {}
    end
  end
  return { x = names }
end

-- What a job's end means, out of its hash of children, which may be damaged.
local function meaning(text)
  local with = object(text)
  local found = named(type(with.p) == 'table' and cjson.encode(with.p) or type(with.x) == 'table' and cjson.encode(with.x) or '')
  found.o = type(with.o) == 'string' and with.o or nil
  found.u = whole(with.u)
  return found
end

-- News that are to be told, and jobs that were removed with nobody told of it so far; whether they are being told, or are to be told later.
local news, removals, telling = {}, {}, false
local trim
-- Has a job fail that no worker holds; kept as its options say. Gives the letter of the news, which the caller tells. Only then others hear of
-- jobs that were removed for it: the job itself may be one of them.
local function fail(id, attempts, stalls, priority, group, reason)
  local keep = added_with(call('HGET', jobs, id)).keepFailed
  tell('f', id, cjson.encode({ reason = reason }))
  if keep == false or type(keep) == 'table' and keep.count == 0 then
    forget({ id })
    return 'F'
  end
  call('HSET', run, id, 'f||' .. attempts .. '|' .. stalls .. '|0|' .. now_text .. '|' .. priority .. '|' .. group .. '\n' .. reason)
  own('ZADD', failed, now_text, id)
  local was_telling = telling
  telling = true
  if type(keep) == 'table' then
    trim(failed, tonumber(keep.count) or -1, tonumber(keep.ageMs) or -1)
  elseif keep == nil then
    -- As `Keep::FAILED` in src/queue/options.rs.
    trim(failed, 10000, -1)
  end
  telling = was_telling
  return 'f'
end

-- How many children a job waits for, or would where it was retried; `kids` is its hash of them.
local function due_of(kids)
  local due = whole(own('HGET', kids, ''))
  if due then
    return due
  end
  -- It has none, or the number is damaged.
  local all = own('HGETALL', kids)
  due = 0
  for i = 1, #all, 2 do
    if (match(all[i], '^%C') and match(all[i + 1], '^[pf]')) or all[i] == '\3' then
      due = due + 1
    end
  end
  return due
end
local function one_less(kids)
  local due = due_of(kids) - 1
  own('HSET', kids, '', due)
  return due
end

-- The job `id` has waited long enough for others: it waits for a worker.
local function unpark(id, attempts, stalls, priority, group, first)
  call('HSET', run, id, 'w||' .. attempts .. '|' .. stalls .. '|0|0|' .. priority .. '|' .. group .. '\n')
  call('ZREM', parked, id)
  enter(id, tonumber(priority) or 0, group, first)
end

-- The job `id` follows the job `before`, which had its dedupe id when it was added and is over now: it has the dedupe id, and its turn.
-- False where it has not.
local function succeed(id, before)
  local kids = kids_of .. id
  if own('HGET', kids, '\3') ~= before then
    return false
  end
  local due = one_less(kids)
  local how, above = own('HGET', kids, '\4'), meaning(own('HGET', kids, '\1'))
  own('HDEL', kids, '\3', '\4')
  local record = call('HGET', run, id)
  local state, attempts, stalls, priority, group, _
  if record then
    state, attempts, stalls, _, priority, group = match(record, STATE)
  end
  if state ~= 'k' then
    return false
  end
  local holder = above.o and own('GET', above.o)
  if above.o and (not holder or match(holder, '^[^\n]*') == before) then
    call('SET', above.o, id)
  end
  if due > 0 then
    return true
  end
  local delay = match(how or '', '^d(%d+)$')
  if delay then
    call('HSET', run, id, 'd||' .. attempts .. '|' .. stalls .. '|0|0|' .. priority .. '|' .. group .. '\n')
    call('ZREM', parked, id)
    put_off(id, now + tonumber(delay))
  else
    unpark(id, attempts, stalls, priority, group, how == 'l')
  end
  return true
end

-- Frees the dedupe id of a job that is over; a job that waits for that has it then.
local function free(id, with, how)
  local follower = with.o and call('HGET', more, 'n' .. id)
  if follower then
    call('HDEL', more, 'n' .. id)
    if succeed(follower, id) then
      return
    end
  end
  local holder = with.o and own('GET', with.o)
  if not holder or match(holder, '^[^\n]*') ~= id then
    return
  end
  if how ~= 'r' and with.u and with.u > now then
    call('SET', with.o, id .. '\n' .. string.lower(how), 'PX', string.format('%.0f', with.u - now))
    local holding = kids_of .. '\2'
    own('ZREMRANGEBYSCORE', holding, '-inf', now_text)
    call('ZADD', holding, string.format('%.0f', with.u), with.o)
  else
    call('DEL', with.o)
  end
end
-- A job that was over and waits again holds its dedupe id, unless another one does.
local function hold(id, key)
  local holder = key and own('GET', key)
  if key and (not holder or match(holder, '^[^\n]*') == id) then
    call('SET', key, id)
  end
end

-- Tells a parent of this queue news of a child; those of a child of another queue are numbered, and older ones than those that were told change
-- nothing. Gives what the parent's own end means, why it fails, and the letter of that, where it fails.
local function tell_parent(parent, name, how, value, number)
  local kids = kids_of .. parent
  local known, last = match(own('HGET', kids, name) or '', '^([pf])(%d*)')
  if not known then
    return nil
  end
  local due
  if how == 'p' or how == 'f' then
    if number and number <= (whole(last) or 0) then
      return nil
    end
    own('HSET', kids, name, how .. (number and string.format('%.0f', number) or ''))
    if how == 'p' then
      return nil
    end
  else
    if how == 'c' then
      own('HSET', kids, name, 'c' .. value)
    else
      own('HDEL', kids, name)
    end
    due = one_less(kids)
    if number then
      own('HDEL', kids, '\2' .. name)
    end
  end
  local record = call('HGET', run, parent)
  local state, attempts, stalls, _, priority, group
  if record then
    state, attempts, stalls, _, priority, group = match(record, STATE)
  end
  if state ~= 'k' then
    return nil
  end
  if how == 'f' or how == 'F' then
    local reason = 'child ' .. name .. ' failed: ' .. value
    local above = meaning(own('HGET', kids, '\1'))
    call('ZREM', parked, parent)
    return above, reason, fail(parent, attempts, stalls, priority, group, reason)
  end
  if due <= 0 then
    unpark(parent, attempts, stalls, priority, group)
  end
  return nil
end

local function others_of(id)
  return kids_of .. '\1' .. id
end
-- Has `wanted`, JSON that names a job, wait for a job that was there before it.
local function share(id, wanted)
  local others = others_of(id)
  local place = own('ZCARD', others)
  if own('ZADD', others, 'NX', place, wanted) == 1 and place == 0 then
    count_up(meta, 'shared', 1)
    shared = true
  end
end

-- The number of the next message: none of this queue has had one as high, also where `meta` was lost.
local function next_mail()
  local number = count_up(meta, 'mail', 1)
  if number <= 1 then
    number = now * 1000
    call('HSET', meta, 'mail', string.format('%.0f', number))
  end
  return string.format('%.0f', number)
end

-- The parents that wait for a job: the one it was added for, and others. Those are forgotten, unless it may be retried. Where they are
-- many they are told by rest.lua, a page at a time: a message to the queue itself says so.
local function parents_of(id, with, how, value)
  local parents, key = { with }, others_of(id)
  -- Most jobs complete: only for them the number of those that are shared spares a call.
  local count = (how ~= 'c' or are_shared()) and own('ZCARD', key) or 0
  if count == 0 then
    return parents
  end
  local ends = how ~= 'f' and how ~= 'p'
  if ends and count_up(meta, 'shared', -1) < 0 then
    call('HDEL', meta, 'shared')
  end
  if count > 100 then
    local n = next_mail()
    local place = ends and '\4' .. n or '\1' .. id
    if ends then
      call('RENAME', key, kids_of .. place)
    end
    local message = { t = 'rest', id = id, how = how, value = value, n = n, place = place, after = '-inf' }
    call('HSET', outbox, 'p' .. n, cjson.encode(message))
    mailed = mailed + 1
    return parents
  end
  local others = call('ZRANGE', key, 0, -1)
  if ends then
    call('UNLINK', key)
  end
  for i = 1, #others do
    parents[i + 1] = named(others[i])
  end
  return parents
end

-- So many parents of this queue one script tells itself; the others are told by messages, like those of other queues.
local TOLD_AT_ONCE = 300
local told_parents = 0
-- Tells all news. Last of all, that a job was removed: one that fails for a child may have the child removed, by the bound on failed jobs that
-- are kept, and the others that wait for the child must have heard by then that it failed.
local function tell_all()
  if telling then
    return
  end
  telling = true
  while true do
    local one = table.remove(news)
    if not one then
      local removal = table.remove(removals)
      if not removal then
        break
      end
      local id, parent = unpack(removal)
      one = { id, parents_of(id, parent, 'r', ''), 'r', '' }
    end
    local _, parents, how, value, number = unpack(one, 1, 5)
    for _, parent in ipairs(parents) do
      local there = parent.x
      if parent.p and told_parents >= TOLD_AT_ONCE then
        there = { '', parent.p[1], parent.p[2] }
      end
      if there then
        local mail = next_mail()
        local n = number and string.format('%.0f', number) or mail
        local message = { t = 'child', q = there[1], id = there[2], name = there[3], how = how, value = value, n = n }
        call('HSET', outbox, 'c' .. mail, cjson.encode(message))
        mailed = mailed + 1
      elseif parent.p then
        told_parents = told_parents + 1
        local above, reason, letter = tell_parent(parent.p[1], parent.p[2], how, value, number)
        if above then
          free(parent.p[1], above, letter)
          news[#news + 1] = { parent.p[1], parents_of(parent.p[1], above, letter, reason), letter, reason }
        end
      end
    end
  end
  telling = false
end
-- Tells `parents` news of a child of theirs, and those above them where they fail for it. `number` is that of the news, where it has one.
local function pass_on(id, parents, how, value, number)
  news[#news + 1] = { id, parents, how, value, number }
  tell_all()
end

-- A job has ended: 'c' completed, with its result; 'f' failed, with the reason, 'F' where it is not kept; 'r' removed.
local function ended(id, with, how, value)
  with = with or {}
  free(id, with, how)
  pass_on(id, parents_of(id, with, how, value), how, value)
end

-- A failed job is removed: nobody waits any more for it to be retried.
local function removed(id, body)
  local _, parent = parts_of(body)
  removals[#removals + 1] = { id, named(parent) }
  tell_all()
end

-- A failed job is retried: it waits for those of its children that have not completed, or for a worker.
local function revive(id, with, priority, group)
  hold(id, with.o)
  local waits = due_of(kids_of .. id) > 0
  call('HSET', run, id, (waits and 'k' or 'w') .. '||0|0|0|0|' .. priority .. '|' .. group .. '\n')
  if waits then
    own('ZADD', parked, now_text, id)
  else
    enter(id, tonumber(priority) or 0, group, false)
  end
  pass_on(id, parents_of(id, with, 'p', ''), 'p', '')
end
