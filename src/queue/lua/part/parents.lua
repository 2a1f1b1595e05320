-- What the end of a job means for other jobs: its dedupe id becomes free, and its parents wait for one child less, or fail.
--
-- An ending is a table of what a job's end means: `dedupe_key`, the key of its dedupe id; `held_until`, ms until which the dedupe id is
-- held although the job is over; `parent`, { id of the parent, name of this child there } in this queue; `other_parent`, { queue, id of
-- the parent, name of this child there } in another queue, which is told by a message.
--
-- A job that existed before others were added as its parents has these parents in a sorted set, as JSON. `shared` in `meta` counts such jobs.
--
-- Updates of a child, and what each does to a parent that waits for children:
--
--   update                            the child in the parent's hash   the parent
--   'c' completed                     its result                       waits for one child less
--   'f' failed, and is kept           failed                           fails
--   'F' failed, and is not kept       none                             fails
--   'r' removed in any state          none                             waits for one child less
--   'p' pending: failed, is retried   pending                          goes on waiting
--
-- A failed parent that is retried waits again for its pending and failed children; where there are none it waits for a worker.
-- Records in `run`: state, attempts, stalls, started, priority, group. Records in `jobs`: lengths of name, options and parent.
local STATE = '^([wadcfk])|[^|]*|(%d+)|(%d+)|(%d*)|%d*|(%d*)|([^\n]*)\n'
local HEAD = '^%d+ (%d+) (%d+) (%d+) %d+\n()'
-- How many messages this script has left in the outbox.
local messages_left = 0

-- True where some job has parents that were added later; nil: not read yet.
local shared = nil
local function has_shared_jobs()
  if shared == nil then
    shared = (whole(call('HGET', meta, 'shared')) or 0) > 0
  end
  return shared
end

-- The JSON of the options that a job was added with, and the JSON that names its parent or nothing.
local function split_body(body)
  local name, options, parent, from = match(body or '', HEAD)
  if not name then
    return '', ''
  end
  local first = from + tonumber(name)
  local after = first + tonumber(options)
  return sub(body, first, after - 1), sub(body, after, after + tonumber(parent) - 1)
end
-- A decoded JSON object; an empty one where `text` is no object.
local function decode_object(text)
  local read, value = pcall(cjson.decode, text)
  return read and type(value) == 'table' and value or {}
end
-- The options that a job was added with, and the JSON that names its parent or nothing.
local function read_options(body)
  local options, parent = split_body(body)
  return decode_object(options), parent
end

-- An ending with the parent that `names` name; without a parent where they are damaged.
local function ending_of_parent(names)
  for i = 1, 3 do
    if type(names[i]) ~= 'string' then
      return i == 3 and { parent = names } or {}
    end
  end
  return { other_parent = names }
end
-- The same from JSON.
local function read_parent(parent)
  return ending_of_parent(decode_object(parent))
end
-- An ending from its fields o: dedupe_key, u: held_until, p: parent, x: other_parent, as `src/queue/flows.rs` writes them.
local function ending_of(fields)
  local ending = ending_of_parent(type(fields.p) == 'table' and fields.p or type(fields.x) == 'table' and fields.x or {})
  ending.dedupe_key = type(fields.o) == 'string' and fields.o or nil
  ending.held_until = whole(fields.u)
  return ending
end
-- The ending in a job's hash of children, which may be damaged.
local function stored_ending(kids)
  return ending_of(decode_object(safe_call('HGET', kids, '\1')))
end

-- Updates that parents are to get; jobs that were removed without an update so far; whether updates are being given, or will be later.
local updates, removals, notifying = {}, {}, false
local trim
-- Makes a job fail that no worker holds, and keeps it as its options say. Returns the update of its parents, which the caller passes to
-- `notify`. Updates about jobs that are removed by the bound on kept failed jobs come after it: the failed job itself may be among them.
local function fail_job(id, attempts, stalls, priority, group, reason)
  local keep = read_options(call('HGET', jobs, id)).keepFailed
  emit('failed', id, cjson.encode({ reason = reason }))
  if keep == false or type(keep) == 'table' and keep.count == 0 then
    delete_jobs({ id })
    return 'F'
  end
  call('HSET', run, id, 'f||' .. attempts .. '|' .. stalls .. '|0|' .. now_text .. '|' .. priority .. '|' .. group .. '\n' .. reason)
  safe_call('ZADD', failed, now_text, id)
  local was_notifying = notifying
  notifying = true
  if type(keep) == 'table' then
    trim(failed, tonumber(keep.count) or -1, tonumber(keep.ageMs) or -1)
  elseif keep == nil then
    -- As `Keep::FAILED` in src/queue/options.rs.
    trim(failed, 10000, -1)
  end
  notifying = was_notifying
  return 'f'
end

-- How many children a job waits for, or would wait for where it were retried. `kids` is its hash of children.
local function count_pending(kids)
  local count = whole(safe_call('HGET', kids, ''))
  if count then
    return count
  end
  -- It has no children, or the number is damaged.
  local all = safe_call('HGETALL', kids)
  count = 0
  for i = 1, #all, 2 do
    if (match(all[i], '^%C') and match(all[i + 1], '^[pf]')) or all[i] == '\3' then
      count = count + 1
    end
  end
  return count
end
local function count_down(kids)
  local count = count_pending(kids) - 1
  safe_call('HSET', kids, '', count)
  return count
end

-- The job `id` has waited for all its children: now it waits for a worker.
local function unpark(id, attempts, stalls, priority, group, first)
  call('HSET', run, id, 'w||' .. attempts .. '|' .. stalls .. '|0|0|' .. priority .. '|' .. group .. '\n')
  call('ZREM', parked, id)
  enqueue(id, tonumber(priority) or 0, group, first)
end

-- The job `id` was added to follow `predecessor`, which held its dedupe id and is over now. The job gets the dedupe id, and waits for its
-- children or for a worker. False where the job does not follow `predecessor`.
local function start_follower(id, predecessor)
  local kids = kids_of .. id
  if safe_call('HGET', kids, '\3') ~= predecessor then
    return false
  end
  local count = count_down(kids)
  local place, ending = safe_call('HGET', kids, '\4'), stored_ending(kids)
  safe_call('HDEL', kids, '\3', '\4')
  local record = call('HGET', run, id)
  local state, attempts, stalls, priority, group, _
  if record then
    state, attempts, stalls, _, priority, group = match(record, STATE)
  end
  if state ~= 'k' then
    return false
  end
  local key = ending.dedupe_key
  local holder = key and safe_call('GET', key)
  if key and (not holder or match(holder, '^[^\n]*') == predecessor) then
    call('SET', key, id)
  end
  if count > 0 then
    return true
  end
  local ms = match(place or '', '^d(%d+)$')
  if ms then
    call('HSET', run, id, 'd||' .. attempts .. '|' .. stalls .. '|0|0|' .. priority .. '|' .. group .. '\n')
    call('ZREM', parked, id)
    delay(id, now + tonumber(ms))
  else
    unpark(id, attempts, stalls, priority, group, place == 'l')
  end
  return true
end

-- Frees the dedupe id of a job that is over, or gives it to the job that follows.
local function release_dedupe(id, ending, update)
  local key = ending.dedupe_key
  local follower = key and call('HGET', more, 'n' .. id)
  if follower then
    call('HDEL', more, 'n' .. id)
    if start_follower(follower, id) then
      return
    end
  end
  local holder = key and safe_call('GET', key)
  if not holder or match(holder, '^[^\n]*') ~= id then
    return
  end
  local held_until = ending.held_until
  if update ~= 'r' and held_until and held_until > now then
    call('SET', key, id .. '\n' .. string.lower(update), 'PX', string.format('%.0f', held_until - now))
    local holding = kids_of .. '\2'
    safe_call('ZREMRANGEBYSCORE', holding, '-inf', now_text)
    call('ZADD', holding, string.format('%.0f', held_until), key)
  else
    call('DEL', key)
  end
end
-- A job that was over and waits again gets its dedupe id back, unless another job holds it.
local function hold_dedupe(id, key)
  local holder = key and safe_call('GET', key)
  if key and (not holder or match(holder, '^[^\n]*') == id) then
    call('SET', key, id)
  end
end

-- Gives a parent of this queue the update of a child. Updates of a child in another queue have numbers; one that is not newer than the
-- last is ignored. Where the parent fails for it, returns the parent's own ending, the reason, and the update of the parent's parents.
local function update_parent(parent, name, update, value, number)
  local kids = kids_of .. parent
  local known, last = match(safe_call('HGET', kids, name) or '', '^([pf])(%d*)')
  if not known then
    return nil
  end
  local count
  if update == 'p' or update == 'f' then
    if number and number <= (whole(last) or 0) then
      return nil
    end
    safe_call('HSET', kids, name, update .. (number and string.format('%.0f', number) or ''))
    if update == 'p' then
      return nil
    end
  else
    if update == 'c' then
      safe_call('HSET', kids, name, 'c' .. value)
    else
      safe_call('HDEL', kids, name)
    end
    count = count_down(kids)
    if number then
      safe_call('HDEL', kids, '\2' .. name)
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
  if update == 'f' or update == 'F' then
    local reason = 'child ' .. name .. ' failed: ' .. value
    local ending = stored_ending(kids)
    call('ZREM', parked, parent)
    return ending, reason, fail_job(parent, attempts, stalls, priority, group, reason)
  end
  if count <= 0 then
    unpark(parent, attempts, stalls, priority, group)
  end
  return nil
end

-- The sorted set of the parents of a job that were added after it.
local function later_parents_key(id)
  return kids_of .. '\1' .. id
end
-- Makes `parent`, JSON that names a job, a parent of a job that existed before it.
local function add_parent(id, parent)
  local key = later_parents_key(id)
  local place = safe_call('ZCARD', key)
  if safe_call('ZADD', key, 'NX', place, parent) == 1 and place == 0 then
    count_up(meta, 'shared', 1)
    shared = true
  end
end

-- The number of the next message. It is greater than all earlier ones of this queue, even where `meta` was lost.
local function next_message()
  local number = count_up(meta, 'mail', 1)
  if number <= 1 then
    number = now * 1000
    call('HSET', meta, 'mail', string.format('%.0f', number))
  end
  return string.format('%.0f', number)
end

-- The parents of a job: the one that it was added for, and those that were added later. The later ones are deleted here, unless the job
-- may be retried. Where they are many, a message to this queue is left instead: remaining_parents.lua updates them a page at a time.
local function parents_of(id, ending, update, value)
  local parents, key = { ending }, later_parents_key(id)
  -- Most jobs complete, so only for them the number of shared jobs is read to save a call.
  local count = (update ~= 'c' or has_shared_jobs()) and safe_call('ZCARD', key) or 0
  if count == 0 then
    return parents
  end
  local is_final = update ~= 'f' and update ~= 'p'
  if is_final and count_up(meta, 'shared', -1) < 0 then
    call('HDEL', meta, 'shared')
  end
  if count > 100 then
    local n = next_message()
    local place = is_final and '\4' .. n or '\1' .. id
    if is_final then
      call('RENAME', key, kids_of .. place)
    end
    local message = { t = 'rest', id = id, how = update, value = value, n = n, place = place, after = '-inf' }
    call('HSET', outbox, 'p' .. n, cjson.encode(message))
    messages_left = messages_left + 1
    return parents
  end
  local later = call('ZRANGE', key, 0, -1)
  if is_final then
    call('UNLINK', key)
  end
  for i = 1, #later do
    parents[i + 1] = read_parent(later[i])
  end
  return parents
end

-- How many parents of this queue one script updates. The others get messages, as those of other queues do.
local MOST_NOTIFIED = 300
local notified = 0
-- Gives all updates to parents. Updates about removals come last: a parent that fails for a child may have that child removed, by the bound
-- on kept failed jobs, and the child's other parents must know by then that it failed.
local function notify_all()
  if notifying then
    return
  end
  notifying = true
  while true do
    local one = table.remove(updates)
    if not one then
      local removal = table.remove(removals)
      if not removal then
        break
      end
      local id, ending = unpack(removal)
      one = { parents_of(id, ending, 'r', ''), 'r', '' }
    end
    local parents, update, value, number = unpack(one, 1, 4)
    for _, ending in ipairs(parents) do
      local elsewhere, parent = ending.other_parent, ending.parent
      if parent and notified >= MOST_NOTIFIED then
        elsewhere = { '', parent[1], parent[2] }
      end
      if elsewhere then
        local message_number = next_message()
        local n = number and string.format('%.0f', number) or message_number
        local message = { t = 'child', q = elsewhere[1], id = elsewhere[2], name = elsewhere[3], how = update, value = value, n = n }
        call('HSET', outbox, 'c' .. message_number, cjson.encode(message))
        messages_left = messages_left + 1
      elseif parent then
        notified = notified + 1
        local above, reason, above_update = update_parent(parent[1], parent[2], update, value, number)
        if above then
          release_dedupe(parent[1], above, above_update)
          updates[#updates + 1] = { parents_of(parent[1], above, above_update, reason), above_update, reason }
        end
      end
    end
  end
  notifying = false
end
-- Gives `parents` the update of a child, and those above them where they fail for it. `number` is that of the update, where it has one.
local function notify(parents, update, value, number)
  updates[#updates + 1] = { parents, update, value, number }
  notify_all()
end

-- A job is over. `value` is its result where it completed, and the reason where it failed.
local function job_ended(id, ending, update, value)
  ending = ending or {}
  release_dedupe(id, ending, update)
  notify(parents_of(id, ending, update, value), update, value)
end

-- A failed job is removed: its parents no longer wait for a retry.
local function failed_job_removed(id, body)
  local _, parent = split_body(body)
  removals[#removals + 1] = { id, read_parent(parent) }
  notify_all()
end

-- Retries a failed job: it waits for its pending and failed children, or for a worker where there are none.
local function retry(id, ending, priority, group)
  hold_dedupe(id, ending.dedupe_key)
  local waits_for_children = count_pending(kids_of .. id) > 0
  call('HSET', run, id, (waits_for_children and 'k' or 'w') .. '||0|0|0|0|' .. priority .. '|' .. group .. '\n')
  if waits_for_children then
    safe_call('ZADD', parked, now_text, id)
  else
    enqueue(id, tonumber(priority) or 0, group, false)
  end
  notify(parents_of(id, ending, 'p', ''), 'p', '')
end
