-- Adds jobs.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- KEYS[18]  sorted set  inbox: messages of other queues that were taken, by until when that is remembered, ms; only where there are some
-- ARGV[6]  count  of jobs; three arguments each: id, body, and JSON or nothing: u: the id may be in use; o: key of the dedupe
--                 id, t: ms it is held at least, r: whether the new job replaces one that has not begun, and follows one that has; d: ms of delay; n: priority; g: group;
--                 l: at the head; c: names of children it waits for; a: what its end means, for its record of children (see part/kin.lua);
--                 i: place, from 0, of its parent in this call; m: messages for the outbox, by field; s: the message that it came with,
--                 which is taken once
--
-- Returns { now, { place, id, body, record, progress, stacks … } of those that were there already, messages left in the outbox,
-- { place, id, body, record … } of those that were added and follow a job that is not over }.
local count = tonumber(ARGV[6])
local inbox = KEYS[18]
-- For so long a message is remembered that was taken and may not have been deleted.
local REMEMBERED = 7 * 24 * 3600 * 1000
hear(call('HGET', meta, 'heard'))

local records, existing, skipped, arrived, following = {}, {}, {}, {}, {}

-- What was collected so far, where the next job may be one of those.
local function write()
  write_bodies()
  for from = 1, #records, 4000 do
    own('HSET', run, unpack(records, from, math.min(from + 3999, #records)))
  end
  records = {}
end

-- The job called `id` is there, or was until lately: then `letter` says how it ended.
local function there(i, id, body, letter)
  local found = call('HMGET', more, 'p' .. id, 's' .. id)
  local present, record = call('HGET', jobs, id), call('HGET', run, id)
  local n = #existing
  existing[n + 1], existing[n + 2] = i, id
  existing[n + 3] = present or before .. body
  existing[n + 4] = present and record or not present and letter .. '||0|0|0|0||\n'
  existing[n + 5], existing[n + 6] = found[1], found[2]
  skipped[i] = true
  -- Whoever wants it as a child hears of its end, if that is not what it was added for.
  local _, own = added_with(present)
  local _, wanted = added_with(before .. body)
  if wanted == '' then
    return
  end
  local state = present and (record and sub(record, 1, 1) or 'w') or letter == 'f' and 'F' or letter
  if state ~= 'c' and state ~= 'F' and wanted ~= own then
    share(id, wanted)
  end
  if state == 'c' or state == 'f' or state == 'F' then
    pass_on(id, { named(wanted) }, state, present and match(record, '\n(.*)$') or '')
  end
end

-- Removes a job that is in one of `states`, for one that replaces it. False where it is in another one.
local function replace(id, states)
  local record = call('HGET', run, id)
  local state = record and sub(record, 1, 1) or 'w'
  if not string.find(states, state, 1, true) then
    return false
  end
  depart(id, record)
  tell('v', id)
  local _, parent = added_with(call('HGET', jobs, id))
  ended(id, named(parent), 'r', '')
  forget({ id })
  return true
end

-- The job that holds a dedupe id, if it keeps another one from being added: its id and how it ended, where it is gone. Third where the
-- new job follows one that is not over, that one's id.
local function holder_of(with)
  local holder, letter = match(own('GET', with.o) or '', '^([^\n]*)\n?(.?)$')
  if not holder then
    return nil
  end
  write()
  if call('HEXISTS', jobs, holder) == 0 then
    return letter ~= '' and holder or nil, letter
  end
  if with.r then
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

-- Writes down whom the job `id` waits for: its children, and the job that it follows.
local function await(id, with, before, body)
  local meaning = with.a or {}
  if before then
    local _, parent = added_with('0 ' .. body)
    meaning = named(parent)
    meaning.o = with.o
    call('HSET', more, 'n' .. before, id)
  end
  if with.t then
    meaning.u = now + with.t
  end
  local children = with.c or {}
  local kids = { kids_of .. id, '', #children + (before and 1 or 0), '\1', cjson.encode(meaning) }
  for k = 1, #children do
    kids[#kids + 1] = children[k]
    kids[#kids + 1] = 'p'
  end
  if before then
    kids[#kids + 1] = '\3'
    kids[#kids + 1] = before
    if with.d or with.l then
      kids[#kids + 1] = '\4'
      kids[#kids + 1] = with.d and string.format('d%.0f', with.d) or 'l'
    end
  end
  for from = 2, #kids, 2000 do
    own('HSET', kids[1], unpack(kids, from, math.min(from + 1999, #kids)))
  end
  own('ZADD', parked, now_text, id)
end

for i = 0, count - 1 do
  local at = 7 + i * 3
  local id, body, extra = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if extra == '' then
    append(id, body)
  else
    local with = cjson.decode(extra)
    if with.i and skipped[with.i] or with.s and call('ZSCORE', inbox, with.s) then
      skipped[i] = true
    else
      local there_id, letter, before_it
      arrived[#arrived + 1] = with.s
      if with.u then
        write()
        if call('HEXISTS', jobs, id) == 1 then
          there_id = id
        end
      end
      if not there_id and with.o then
        there_id, letter, before_it = holder_of(with)
        if not there_id and not before_it then
          call('SET', with.o, id)
        end
      end
      if there_id then
        there(i, there_id, body, letter)
      else
        describe(id, body)
        local priority, group = with.n or 0, with.g or ''
        local place = '||0|0|0|0|' .. priority .. '|' .. group .. '\n'
        if with.c or before_it then
          await(id, with, before_it, body)
          records[#records + 1] = id
          records[#records + 1] = 'k' .. place
          if before_it then
            following[#following + 1] = i
            following[#following + 1] = id
            following[#following + 1] = before .. body
            following[#following + 1] = 'k' .. place
          end
        elseif with.d then
          records[#records + 1] = id
          records[#records + 1] = 'd' .. place
          put_off(id, now + with.d)
        else
          enter(id, priority, group, with.l)
        end
        if with.m then
          for field, message in pairs(with.m) do
            call('HSET', outbox, field, cjson.encode(message))
            mailed = mailed + 1
            local child = message.jobs[1]
            local place = message.q .. '\n' .. child[1] .. '\n' .. field .. '\n' .. (child[3].o or '')
            own('HSET', kids_of .. id, '\2' .. message.q .. ':' .. child[1], place)
          end
        end
      end
    end
  end
end
write()
wake(entered)
publish()
-- Only now: what failed before must be taken when it comes again.
for i = 1, #arrived do
  call('ZADD', inbox, string.format('%.0f', now + REMEMBERED), arrived[i])
end
if inbox then
  call('PEXPIRE', inbox, REMEMBERED)
end
return { now_text, existing, mailed, following }
