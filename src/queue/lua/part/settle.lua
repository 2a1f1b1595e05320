-- Settles what was claimed. An outcome whose lease is not the job's any more changes nothing.
--
-- Six arguments for each: what ('c' completed, 'f' failed, 'C' and 'F' the same and not kept, 'r' waits again, 'd' delayed,
-- 'h' handed back, 's' stalled), id, how its record must begin, the record before and after the time of its end, and JSON
-- or nothing: g: group; n: priority; d: ms of delay; k: stack of a failed attempt; e: what listeners are told; o, u, p, x: see kin.lua.
--
-- Returns the places, from 0, of those refused.
-- The largest result, in bytes, that is in an event; of a larger one the event says '>'.
local LARGE = 65536
-- A job that is not held as its worker believes: of no state where its record is damaged or gone, then it waits again.
local function strayed(id, record, held)
  if call('SREM', held, id) == 1 and not match(record or '', STATE) and call('HEXISTS', jobs, id) == 1 then
    mended()
    call('HSET', run, id, 'w||0|0|0|0||\n')
    enter(id, 0, '', true)
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
      if what == 'C' or what == 'F' then
        gone[#gone + 1] = id
      elseif what == 'c' or what == 'f' then
        records[n + 1], records[n + 2] = id, before .. now_text .. after
        local list = what == 'c' and good or bad
        local m = #list
        list[m + 1], list[m + 2] = now_text, id
      else
        records[n + 1], records[n + 2] = id, before .. '0' .. after
      end
      local group = ''
      if with then
        if with.k then
          local read, stacks = pcall(cjson.decode, call('HGET', more, 's' .. id) or '[]')
          if not read or type(stacks) ~= 'table' then
            stacks = {}
          end
          stacks[#stacks + 1] = with.k
          if #stacks > 10 then
            table.remove(stacks, 1)
          end
          call('HSET', more, 's' .. id, cjson.encode(stacks))
        end
        if with.g then
          group = with.g
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
      end
      if what == 'c' or what == 'C' or what == 'f' or what == 'F' then
        local how = what == 'C' and 'c' or what
        local value = (listening or shared or with and (with.p or with.x)) and match(after, '\n(.*)$') or ''
        if how ~= 'c' then
          tell('f', id, with and with.e)
        elseif #value <= LARGE then
          tell('c', id, value)
        else
          tell('c', id, '>')
          if what == 'C' and listening then
            -- Whoever waits for it can find it nowhere else.
            call('SET', log_of .. id .. '\1', value, 'PX', 60000)
          end
        end
        if with or shared then
          ended(id, with, how, value)
        end
      elseif what == 'd' then
        put_off(id, now + with.d)
        tell('r', id, with.e)
      elseif what == 'r' then
        enter(id, with and with.n or 0, group, false)
        tell('r', id, with and with.e)
      else
        enter(id, with and with.n or 0, group, true)
        if what == 's' then
          tell('s', id)
        end
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
