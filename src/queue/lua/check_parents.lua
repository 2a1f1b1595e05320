-- Checks a page of the parents that wait for children, and repairs those that would wait for ever. A server that loses its last writes may
-- lose the update of a child in another queue, and so may a stranger who deletes messages. The caller asks the queues of the returned
-- children, see check_children.lua. A job that follows another one is started here where that other job is over.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  ms     from one page to the next, whichever worker asks
-- ARGV[7]  ms     for which a parent has waited at least
-- ARGV[8]  count  of parents in a page
-- ARGV[9]  count  of children in a page, about
--
-- `look` in `meta` is the place of the next page: '<ms from which on it may be read> <cursor in the children> <score> <parent>'.
--
-- Returns { parent, its name for the child, 'p' pending or 'f' failed as it knows the child, queue, child, key of the child's dedupe id or '' … }.
local pause, waited, most, budget = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

local at, cursor, score, current = match(call('HGET', meta, 'look') or '', '^(%d+) (%d+) (%d+) (.*)$')
if at and (#cursor > 19 or not whole(at)) then
  at, current = nil, nil
end
-- A time that is further off was written before the clock was set back.
if at and tonumber(at) > now and tonumber(at) <= now + pause then
  return {}
end
set_listening(call('HGET', meta, 'heard'))
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
local function check_child(parent, field, value)
  local kids = kids_of .. parent
  if field == '\3' then
    local record = call('HGET', run, value)
    if call('HEXISTS', jobs, value) == 0 or match(record or '', '^[cf]|') then
      start_follower(parent, value)
    end
    return
  end
  local name = sub(field, 2)
  local known = match(safe_call('HGET', kids, name) or '', '^[pf]')
  local queue, child, message, dedupe_key = match(value, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
  -- While the message that adds the child is in the outbox, the child may not exist yet.
  if known and queue and call('HEXISTS', outbox, message) == 0 then
    local n = #found
    found[n + 1], found[n + 2], found[n + 3], found[n + 4], found[n + 5], found[n + 6] = parent, name, known, queue, child, dedupe_key
  end
end

-- A parent whose record is damaged or gone waits for its children again. A job that does not exist or is in another state leaves `parked`.
local function repair_parent(parent)
  local record = call('HGET', run, parent) or ''
  if match(record, '^k|') and match(record, STATE) then
    return
  end
  count_damage()
  if match(record, STATE) or call('HEXISTS', jobs, parent) == 0 then
    call('ZREM', parked, parent)
  elseif count_pending(kids_of .. parent) > 0 then
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
  if since <= now - waited or since > now then
    repair_parent(parent)
    repeat
      local children = safe_call('HSCAN', kids_of .. parent, cursor, 'MATCH', '[\2\3]*', 'COUNT', 200)
      cursor = children[1]
      budget = budget - math.max(200, #children[2] / 2)
      for k = 1, #children[2], 2 do
        check_child(parent, children[2][k], children[2][k + 1])
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
push_tail()
wake_workers(enqueued)
publish_events()
return found
