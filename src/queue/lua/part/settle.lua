-- Settles what was claimed. An outcome whose lease is not the job's any more changes nothing.
--
-- Six arguments for each: what, a letter as below; id; how its record must begin; the record before and after the time of its end; and
-- JSON or nothing: g: group; n: priority; d: ms of delay; k: stack of a failed attempt; e: what listeners are told; o, u, p, x: see kin.lua.
--
-- `settle` returns the places, from 0, of those refused.
local COMPLETED, FAILED, COMPLETED_GONE, FAILED_GONE = 'c', 'f', 'C', 'F' -- the last two: and not kept
local RETRIED, DELAYED, HANDED_BACK, STALLED = 'r', 'd', 'h', 's'
-- The largest result, in bytes, that is in an event; of a larger one the event says '>'.
local LARGE = 65536
-- The newest stacks that are kept of a job.
local STACKS = 10

-- A job that is not held as its worker believes: of no state where its record is damaged or gone, then it waits again.
local function strayed(id, record, held)
  if call('SREM', held, id) == 1 and not match(record or '', STATE) and call('HEXISTS', jobs, id) == 1 then
    mended()
    call('HSET', run, id, 'w||0|0|0|0||\n')
    enter(id, 0, '', true)
  end
end

local function keep_stack(id, stack)
  local read, stacks = pcall(cjson.decode, call('HGET', more, 's' .. id) or '[]')
  if not read or type(stacks) ~= 'table' then
    stacks = {}
  end
  stacks[#stacks + 1] = stack
  if #stacks > STACKS then
    table.remove(stacks, 1)
  end
  call('HSET', more, 's' .. id, cjson.encode(stacks))
end

-- One job of `group` is active no more: the group may run again if it was blocked.
local function leave_group(group)
  if count_up(busy, group, -1) <= 0 then
    call('HDEL', busy, group)
  end
  if own('SREM', blocked, group) == 1 and call('EXISTS', group_of .. group) == 1 then
    entered = entered + 1
    grouped = true
    if own('RPUSH', ring, group) == 1 then
      own('RPUSH', ring, '')
    end
  end
end

-- Tells of the end of a job whose record ends with `after`, and what the end means to other jobs.
local function settle_end(what, id, after, with)
  local how = what == COMPLETED_GONE and COMPLETED or what
  local value = (listening or shared or with and (with.p or with.x)) and match(after, '\n(.*)$') or ''
  if how ~= COMPLETED then
    tell('f', id, with and with.e)
  elseif #value <= LARGE then
    tell('c', id, value)
  else
    tell('c', id, '>')
    if what == COMPLETED_GONE and listening then
      -- Whoever waits for it can find it nowhere else.
      call('SET', log_of .. id .. '\1', value, 'PX', 60000)
    end
  end
  if with or shared then
    ended(id, with, how, value)
  end
end

-- Puts a job that has not ended to where it waits.
local function settle_again(what, id, group, with)
  if what == DELAYED then
    put_off(id, now + with.d)
    tell('r', id, with.e)
  elseif what == RETRIED then
    enter(id, with and with.n or 0, group, false)
    tell('r', id, with and with.e)
  else
    -- HANDED_BACK or STALLED: to the head.
    enter(id, with and with.n or 0, group, true)
    if what == STALLED then
      tell('s', id)
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
    local what, id, fence, extra = ARGV[base], ids[i], ARGV[base + 2], ARGV[base + 5]
    local record = present[i]
    if not record or sub(record, 1, #fence) ~= fence then
      refused[#refused + 1] = i - 1
      strayed(id, record, held)
    else
      settled[#settled + 1] = id
      local with = extra ~= '' and cjson.decode(extra)
      local before, after = ARGV[base + 3], ARGV[base + 4]
      local n = #records
      if with and with.k then
        keep_stack(id, with.k)
      end
      local group = with and with.g or ''
      if group ~= '' then
        leave_group(group)
      end
      if what == COMPLETED_GONE or what == FAILED_GONE then
        gone[#gone + 1] = id
        settle_end(what, id, after, with)
      elseif what == COMPLETED or what == FAILED then
        records[n + 1], records[n + 2] = id, before .. now_text .. after
        local list = what == COMPLETED and good or bad
        local m = #list
        list[m + 1], list[m + 2] = now_text, id
        settle_end(what, id, after, with)
      else
        records[n + 1], records[n + 2] = id, before .. '0' .. after
        settle_again(what, id, group, with)
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
    forget(gone)
  end
  return refused
end
