-- Adds jobs.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- KEYS[18]  sorted set  inbox: messages of other queues that were accepted, by until when that is remembered, ms; only where a job came
--                       with a message
-- ARGV[6]  count  of jobs; three arguments each: id, body, and JSON or nothing. Its fields, beside those in part/base.lua:
--                 u whether the id may exist; o key of the dedupe id, t ms for which it is held at least, r whether the job replaces a
--                 waiting one with that dedupe id and follows an active one; c names of its children, a its ending (see part/parents.lua),
--                 i place of its parent in this call; m messages for the outbox, by field; s the message that the job came with, which is
--                 accepted once
--
-- Returns { now, { place, id, body, record, progress, stacks … } of jobs that existed already, how many messages are left in the outbox,
-- { place, id, body, record … } of added jobs that follow a job that is not over }. Places are counted from 0.

local count = tonumber(ARGV[6])
local inbox = KEYS[18]
-- How long an accepted message is remembered that may not be deleted yet, ms.
local REMEMBERED = 7 * 24 * 3600 * 1000
set_listening(call('HGET', meta, 'heard'))

local records, existing, skipped, arrived, following = {}, {}, {}, {}, {}

-- Writes the jobs collected so far: the next job may be one of them.
local function write()
  write_bodies()
  for from = 1, #records, 4000 do
    safe_call('HSET', run, unpack(records, from, math.min(from + 3999, #records)))
  end
  records = {}
end

-- The job `id` exists, or it is over and not kept: then `update` says how it ended. The job at place `i` is not added.
local function report_existing(i, id, body, update)
  local found = call('HMGET', more, 'p' .. id, 's' .. id)
  local present, record = call('HGET', jobs, id), call('HGET', run, id)
  local n = #existing
  existing[n + 1], existing[n + 2] = i, id
  existing[n + 3] = present or added_at .. body
  existing[n + 4] = present and record or not present and update .. '||0|0|0|0||\n'
  existing[n + 5], existing[n + 6] = found[1], found[2]
  skipped[i] = true
  -- A parent that wants it as a child gets its end as an update, unless it was added as this child.
  local _, first_parent = read_options(present)
  local _, parent = read_options(added_at .. body)
  if parent == '' then
    return
  end
  local state = present and (record and sub(record, 1, 1) or 'w') or update == 'f' and 'F' or update
  if state ~= 'c' and state ~= 'F' and parent ~= first_parent then
    add_parent(id, parent)
  end
  if state == 'c' or state == 'f' or state == 'F' then
    notify({ read_parent(parent) }, state, present and match(record, '\n(.*)$') or '')
  end
end

-- Removes a job for one that replaces it. False where its state is none of `states`.
local function replace(id, states)
  local record = call('HGET', run, id)
  local state = record and sub(record, 1, 1) or 'w'
  if not string.find(states, state, 1, true) then
    return false
  end
  remove_from_state(id, record)
  emit('removed', id)
  local _, parent = read_options(call('HGET', jobs, id))
  job_ended(id, read_parent(parent), 'r', '')
  delete_jobs({ id })
  return true
end

-- The job that holds the dedupe id of a new job and keeps it from being added: its id, and how it ended where it is not kept. The third result
-- is the id of an active job that the new job follows.
local function dedupe_holder(fields)
  local holder, update = match(safe_call('GET', fields.o) or '', '^([^\n]*)\n?(.?)$')
  if not holder then
    return nil
  end
  write()
  if call('HEXISTS', jobs, holder) == 0 then
    return update ~= '' and holder or nil, update
  end
  if fields.r then
    local follower = call('HGET', more, 'n' .. holder)
    if follower then
      call('HDEL', more, 'n' .. holder)
      if call('HEXISTS', jobs, follower) == 1 then
        replace(follower, 'k')
      end
    end
    if replace(holder, 'wd') then
      return nil
    end
    local state = sub(call('HGET', run, holder) or 'w', 1, 1)
    if state ~= 'c' and state ~= 'f' then
      return nil, nil, holder
    end
  end
  return holder
end

-- The job `id` waits for its children, and for `predecessor`, the job that it follows. Either may be missing.
local function park(id, fields, predecessor, body)
  local ending = fields.a or {}
  if predecessor then
    local _, parent = read_options('0 ' .. body)
    local own = read_parent(parent)
    ending = { p = own.parent, x = own.other_parent, o = fields.o }
    call('HSET', more, 'n' .. predecessor, id)
  end
  if fields.t then
    ending.u = now + fields.t
  end
  local children = fields.c or {}
  local kids = { kids_of .. id, '', #children + (predecessor and 1 or 0), '\1', cjson.encode(ending) }
  for k = 1, #children do
    kids[#kids + 1] = children[k]
    kids[#kids + 1] = 'p'
  end
  if predecessor then
    kids[#kids + 1] = '\3'
    kids[#kids + 1] = predecessor
    if fields.d or fields.l then
      kids[#kids + 1] = '\4'
      kids[#kids + 1] = fields.d and string.format('d%.0f', fields.d) or 'l'
    end
  end
  for from = 2, #kids, 2000 do
    safe_call('HSET', kids[1], unpack(kids, from, math.min(from + 1999, #kids)))
  end
  safe_call('ZADD', parked, now_text, id)
end

for i = 0, count - 1 do
  local at = 7 + i * 3
  local id, body, json = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if json == '' then
    append(id, body)
  else
    local fields = cjson.decode(json)
    if fields.i and skipped[fields.i] or fields.s and call('ZSCORE', inbox, fields.s) then
      skipped[i] = true
    else
      local existing_id, update, predecessor
      arrived[#arrived + 1] = fields.s
      if fields.u then
        write()
        if call('HEXISTS', jobs, id) == 1 then
          existing_id = id
        end
      end
      if not existing_id and fields.o then
        existing_id, update, predecessor = dedupe_holder(fields)
        if not existing_id and not predecessor then
          call('SET', fields.o, id)
        end
      end
      if existing_id then
        report_existing(i, existing_id, body, update)
      else
        collect(id, body)
        local priority, group = fields.n or 0, fields.g or ''
        local rest = '||0|0|0|0|' .. priority .. '|' .. group .. '\n'
        if fields.c or predecessor then
          park(id, fields, predecessor, body)
          records[#records + 1] = id
          records[#records + 1] = 'k' .. rest
          if predecessor then
            following[#following + 1] = i
            following[#following + 1] = id
            following[#following + 1] = added_at .. body
            following[#following + 1] = 'k' .. rest
          end
        elseif fields.d then
          records[#records + 1] = id
          records[#records + 1] = 'd' .. rest
          delay(id, now + fields.d)
        else
          enqueue(id, priority, group, fields.l)
        end
        if fields.m then
          for field, message in pairs(fields.m) do
            call('HSET', outbox, field, cjson.encode(message))
            messages_left = messages_left + 1
            local child = message.jobs[1]
            local elsewhere = message.q .. '\n' .. child[1] .. '\n' .. field .. '\n' .. (child[3].o or '')
            safe_call('HSET', kids_of .. id, '\2' .. message.q .. ':' .. child[1], elsewhere)
          end
        end
      end
    end
  end
end
write()
wake_workers(enqueued)
publish_events()
-- Last: a message whose script failed must be accepted when it is delivered again.
for i = 1, #arrived do
  call('ZADD', inbox, string.format('%.0f', now + REMEMBERED), arrived[i])
end
if inbox then
  call('PEXPIRE', inbox, REMEMBERED)
end
return { now_text, existing, messages_left, following }
