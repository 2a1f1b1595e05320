-- Adds jobs.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  count  of jobs; three arguments each: id, body, and JSON or nothing: u: the id may be in use; o: key of the dedupe
--                 id, t: ms it lasts, 0 for as long as the job is not finished, r: whether the new job replaces one that has
--                 not begun; d: ms of delay; n: priority; g: group; l: at the head; c: names of children it waits for;
--                 a: what its end means, for its record of children (see part/kin.lua); i: place, from 0, of its parent in
--                 this call; m: messages for the outbox, by field
--
-- Returns { now, { place, id, body, record, progress, stacks … } } of those that were there already.
local count = tonumber(ARGV[6])
hear(call('HGET', meta, 'heard'))

local records, existing, skipped = {}, {}, {}

-- What was collected so far, where the next job may be one of those.
local function write()
  write_bodies()
  for from = 1, #records, 4000 do
    call('HSET', run, unpack(records, from, math.min(from + 3999, #records)))
  end
  records = {}
end

local function there(i, id)
  local found = call('HMGET', more, 'p' .. id, 's' .. id)
  local n = #existing
  existing[n + 1], existing[n + 2] = i, id
  existing[n + 3], existing[n + 4] = call('HGET', jobs, id), call('HGET', run, id)
  existing[n + 5], existing[n + 6] = found[1], found[2]
  skipped[i] = true
end

-- Removes a job that has not begun, for one that replaces it. False where it has begun or is not there.
local function replace(id)
  local record = call('HGET', run, id)
  local state = record and sub(record, 1, 1) or 'w'
  if state ~= 'w' and state ~= 'd' or call('HEXISTS', jobs, id) == 0 then
    return false
  end
  depart(id, record)
  forget({ id })
  return true
end

for i = 0, count - 1 do
  local at = 7 + i * 3
  local id, body, extra = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if extra == '' then
    append(id, body)
  else
    local with = cjson.decode(extra)
    local there_id
    if with.i and skipped[with.i] then
      skipped[i] = true
    else
      if with.u then
        write()
        if call('HEXISTS', jobs, id) == 1 then
          there_id = id
        end
      end
      if not there_id and with.o then
        local holder = call('GET', with.o)
        if holder then
          write()
          if call('HEXISTS', jobs, holder) == 1 and not (with.r and replace(holder)) then
            there_id = holder
          end
        end
        if not there_id then
          if with.t > 0 then
            call('SET', with.o, id, 'PX', with.t)
          else
            call('SET', with.o, id)
          end
        end
      end
      if there_id then
        there(i, there_id)
      else
        describe(id, body)
        local priority, group = with.n or 0, with.g or ''
        local place = '||0|0|0|0|' .. priority .. '|' .. group .. '\n'
        if with.c then
          local kids = { kids_of .. id, '', #with.c, '\1', with.a }
          for k = 1, #with.c do
            kids[#kids + 1] = with.c[k]
            kids[#kids + 1] = 'p'
          end
          for from = 2, #kids, 2000 do
            call('HSET', kids[1], unpack(kids, from, math.min(from + 1999, #kids)))
          end
          records[#records + 1] = id
          records[#records + 1] = 'k' .. place
          call('ZADD', parked, now_text, id)
        elseif with.d then
          records[#records + 1] = id
          records[#records + 1] = 'd' .. place
          put_off(id, now + with.d)
        else
          enter(id, priority, group, with.l)
        end
        if with.m then
          for field, message in pairs(with.m) do
            call('HSET', outbox, field, message)
          end
        end
      end
    end
  end
end
write()
wake(entered)
publish()
return { now_text, existing }
