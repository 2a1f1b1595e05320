-- Looks, a page at a time, at the parents that wait for children, for what nobody may tell them any more: news of children in other queues were
-- lost where the server lost what it had written last, or were deleted by hand; so was a job that another one follows.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  ms     from one page to the next, by whomever
-- ARGV[7]  ms     for which a parent has waited at least
-- ARGV[8]  count  of parents in a page
-- ARGV[9]  count  of children in a page, about
--
-- The place of the next page is in `meta`, 'look': '<ms from which on it may be read> <cursor in the children> <score> <parent>'.
--
-- Returns { parent, its name for the child, 'p' or 'f' as it knows the child, queue, child, key of the child's dedupe id or '' … }.
local pause, settled, most, budget = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

local at, cursor, score, current = match(call('HGET', meta, 'look') or '', '^(%d+) (%d+) (%d+) (.*)$')
if at and (#cursor > 19 or not whole(at)) then
  at, current = nil, nil
end
-- One that is further off is of a time before the clock was put back.
if at and tonumber(at) > now and tonumber(at) <= now + pause then
  return {}
end
hear(call('HGET', meta, 'heard'))
local start = 0
if current then
  local rank = call('ZRANK', parked, current)
  if rank then
    start = cursor == '0' and rank + 1 or rank
  else
    start, cursor = call('ZCOUNT', parked, '-inf', '(' .. score), '0'
  end
end

local found = {}
local function look_at(parent, field, value)
  local kids = kids_of .. parent
  if field == '\3' then
    local record = call('HGET', run, value)
    if call('HEXISTS', jobs, value) == 0 or match(record or '', '^[cf]|') then
      succeed(parent, value)
    end
    return
  end
  local name = sub(field, 2)
  local known = match(own('HGET', kids, name) or '', '^[pf]')
  local queue, child, message, once = match(value, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
  -- Where the message that adds it is still here, the child is not there yet.
  if known and queue and call('HEXISTS', outbox, message) == 0 then
    local n = #found
    found[n + 1], found[n + 2], found[n + 3], found[n + 4], found[n + 5], found[n + 6] = parent, name, known, queue, child, once
  end
end

-- A parent whose record is damaged or gone waits for its children again, one that is not there or in another state does not wait here.
local function mend(parent)
  local record = call('HGET', run, parent) or ''
  if match(record, '^k|') and match(record, STATE) then
    return
  end
  mended()
  if match(record, STATE) or call('HEXISTS', jobs, parent) == 0 then
    call('ZREM', parked, parent)
  elseif due_of(kids_of .. parent) > 0 then
    call('HSET', run, parent, 'k||0|0|0|0||\n')
  else
    unpark(parent, '0', '0', '', '')
  end
end

local page = call('ZRANGE', parked, start, start + most - 1, 'WITHSCORES')
local more_to_come = #page == most * 2
cursor = cursor or '0'
for i = 1, #page, 2 do
  local parent = page[i]
  local since = tonumber(page[i + 1])
  if since <= now - settled or since > now then
    mend(parent)
    repeat
      local children = own('HSCAN', kids_of .. parent, cursor, 'MATCH', '[\2\3]*', 'COUNT', 200)
      cursor = children[1]
      budget = budget - math.max(200, #children[2] / 2)
      for k = 1, #children[2], 2 do
        look_at(parent, children[2][k], children[2][k + 1])
      end
    until cursor == '0' or budget <= 0
  end
  current, score = parent, page[i + 1]
  if budget <= 0 then
    more_to_come = true
    break
  end
  cursor = '0'
end
local place = more_to_come and ' ' .. cursor .. ' ' .. string.format('%.0f', score) .. ' ' .. current or ''
call('HSET', meta, 'look', string.format('%.0f', now + pause) .. place)
line_up()
wake(entered)
publish()
return found
