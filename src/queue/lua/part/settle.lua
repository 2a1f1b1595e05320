-- Settles jobs that a worker held: records their outcomes. An outcome under a lease that is no longer the job's changes nothing.
--
-- Six arguments for each outcome: its letter, see below; the id; the fence, which the job's record must start with; the new record before and
-- after the time of its end; and JSON or nothing, with the fields g group, n priority, d ms of delay,
-- k stack of a failed attempt, e payload of its event, and those of an ending, see parents.lua.
--
-- Outcomes: 'c' completed, 'f' failed, 'C' and 'F' the same of a job that is not kept, 'r' retried, 'd' delayed, 'h' handed back, 's' stalled.
--
-- `settle` returns the places, from 0, of the refused outcomes.

-- The largest result, in bytes, that is written into an event. In place of a larger one the event has '>'.
local LARGE = 65536
-- How many stacks are kept of a job.
local MOST_STACKS = 10

-- A job whose outcome is refused. Where its record is damaged or gone it would be lost: it waits again.
local function recover_stray(id, record, held)
  if call('SREM', held, id) == 1 and not match(record or '', STATE) and call('HEXISTS', jobs, id) == 1 then
    count_damage()
    call('HSET', run, id, 'w||0|0|0|0||\n')
    enqueue(id, 0, '', true)
  end
end

local function keep_stack(id, stack)
  local read, stacks = pcall(cjson.decode, call('HGET', more, 's' .. id) or '[]')
  if not read or type(stacks) ~= 'table' then
    stacks = {}
  end
  stacks[#stacks + 1] = stack
  if #stacks > MOST_STACKS then
    table.remove(stacks, 1)
  end
  call('HSET', more, 's' .. id, cjson.encode(stacks))
end

-- A job of `group` is no longer active. A blocked group may run again.
local function leave_group(group)
  if count_up(busy, group, -1) <= 0 then
    call('HDEL', busy, group)
  end
  if safe_call('SREM', blocked, group) == 1 and call('EXISTS', group_of .. group) == 1 then
    enqueued = enqueued + 1
    grouped = true
    if safe_call('RPUSH', ring, group) == 1 then
      safe_call('RPUSH', ring, '')
    end
  end
end

-- The job is over: emits that, and updates the jobs that its end concerns. `after`: the end of its record. `fields`: nil where there are none.
local function finish(outcome, id, after, fields)
  local update = outcome == 'C' and 'c' or outcome
  local ending = fields and ending_of(fields)
  local value = (listening or shared or ending and (ending.parent or ending.other_parent)) and match(after, '\n(.*)$') or ''
  if update ~= 'c' then
    emit('failed', id, fields and fields.e)
  elseif #value <= LARGE then
    emit('completed', id, value)
  else
    emit('completed', id, '>')
    if outcome == 'C' and listening then
      -- The result is nowhere else: a caller that waits for the job reads it here.
      call('SET', log_of .. id .. '\1', value, 'PX', 60000)
    end
  end
  if ending or shared then
    job_ended(id, ending, update, value)
  end
end

-- The job is not over: it waits again, or is delayed.
local function requeue(outcome, id, group, fields)
  local priority, event = fields and fields.n or 0, fields and fields.e
  if outcome == 'd' then
    delay(id, now + fields.d)
    emit('retrying', id, event)
  elseif outcome == 'r' then
    enqueue(id, priority, group, false)
    emit('retrying', id, event)
  else
    -- Handed back or stalled: at the head.
    enqueue(id, priority, group, true)
    if outcome == 's' then
      emit('stalled', id)
    end
  end
end

local function settle(at, count, held)
  local ids = {}
  for i = 1, count do
    ids[i] = ARGV[at + (i - 1) * 6 + 1]
  end
  local refused, settled, records, good, bad, gone = {}, {}, {}, {}, {}, {}
  local present = call('HMGET', run, unpack(ids))
  for i = 1, count do
    local base = at + (i - 1) * 6
    local outcome, id, fence, json = ARGV[base], ids[i], ARGV[base + 2], ARGV[base + 5]
    local record = present[i]
    if not record or sub(record, 1, #fence) ~= fence then
      refused[#refused + 1] = i - 1
      recover_stray(id, record, held)
    else
      settled[#settled + 1] = id
      local fields = json ~= '' and cjson.decode(json)
      local before, after = ARGV[base + 3], ARGV[base + 4]
      local n = #records
      if fields and fields.k then
        keep_stack(id, fields.k)
      end
      local group = fields and fields.g or ''
      if group ~= '' then
        leave_group(group)
      end
      if outcome == 'C' or outcome == 'F' then
        gone[#gone + 1] = id
        finish(outcome, id, after, fields)
      elseif outcome == 'c' or outcome == 'f' then
        records[n + 1], records[n + 2] = id, before .. now_text .. after
        local scores = outcome == 'c' and good or bad
        local m = #scores
        scores[m + 1], scores[m + 2] = now_text, id
        finish(outcome, id, after, fields)
      else
        records[n + 1], records[n + 2] = id, before .. '0' .. after
        requeue(outcome, id, group, fields)
      end
    end
  end
  if settled[1] then
    call('SREM', held, unpack(settled))
  end
  if records[1] then
    call('HSET', run, unpack(records))
  end
  if good[1] then
    call('ZADD', completed, unpack(good))
  end
  if bad[1] then
    call('ZADD', failed, unpack(bad))
  end
  if gone[1] then
    delete_jobs(gone)
  end
  return refused
end
