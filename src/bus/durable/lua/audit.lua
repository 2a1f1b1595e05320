-- One page of an audit of a group's records: lost records are restored, damaged ones removed.
--
-- A message of WAITING is due or parked; a key queue names the due message of its key, or the consumer that has its messages.
-- Each phase relies on the one before. `due` and `parked` remove entries whose message is not pending with WAITING; `pending`
-- adds what is missing; `queues` ends key queues without messages.
--
-- KEYS, ARGV[1..4]  see group.lua
-- ARGV[5]  text     the phase
-- ARGV[6]  text     the position in the phase: a cursor, in `pending` an id; '' at its start
--
-- Returns {next phase, next position, records removed, messages restored}; the phase is '' after the last page.
local phase, cursor = ARGV[5], ARGV[6]
local PAGE, PAGE_BYTES = 100, 1048576
local restored = 0

local info = redis.pcall('XPENDING', stream, group)
if info.err then
  return { '', '', damaged, 0 }
end

local function is_waiting(id)
  local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
  return pending and pending[2] == WAITING
end

-- The queue of `key`, if the consumer that it names is a member of the group, or the message that it names is due.
local function valid_key_queue(key)
  local queue = key_queue_of(key)
  if not queue then
    return nil
  end
  local id = string.sub(queue[2], 1, 1) == '~' and string.sub(queue[2], 2)
  if id then
    return redis.call('ZSCORE', due, id .. ':' .. key) and queue or nil
  end
  return redis.call('ZSCORE', consumers, queue[2]) and queue or nil
end

local function count_parked(key)
  local prefix = prefix_of(key)
  return redis.call('ZLEXCOUNT', parked, '[' .. prefix, '(' .. prefix .. ':')
end

local function check_due(member)
  local id = (#member == 41 or string.sub(member, 42, 42) == ':' and #member > 42) and unpad(member)
  if not id or not is_waiting(id) then
    redis.call('ZREM', due, member)
    damaged = damaged + (id and 0 or 1)
  end
end

local function check_parked(member)
  local digits = string.match(member, '^(%d+):')
  local start = digits and #digits < 16 and #digits + 2 + tonumber(digits)
  local id = start and #member == start + 41 and string.sub(member, start, start) == ':' and unpad(string.sub(member, start + 1))
  if not id or not is_waiting(id) then
    redis.call('ZREM', parked, member)
    damaged = damaged + (id and 0 or 1)
  end
end

local function restore(id, key, deliveries)
  local member = due_member(id, key)
  local is_due = redis.call('ZSCORE', due, member)
  if not key then
    if not is_due then
      redis.call('ZADD', due, deliveries > 0 and now or 0, member)
      restored = restored + 1
    end
    return
  end
  local queue = valid_key_queue(key)
  local place = prefix_of(key) .. pad(id)
  local is_parked = redis.call('ZSCORE', parked, place)
  if not (is_due or is_parked) then
    restored = restored + 1
  end
  if not queue then
    -- This is the earliest waiting message of the key, because pages go by id.
    redis.call('ZREM', parked, place)
    if not is_due then
      redis.call('ZADD', due, deliveries > 0 and now or 0, member)
    end
    set_key_queue(key, count_parked(key), due_owner(id))
  elseif queue[2] ~= due_owner(id) then
    redis.call('ZREM', due, member)
    redis.call('ZADD', parked, 0, place)
    set_key_queue(key, count_parked(key), queue[2])
  end
end

-- Returns the size of the message.
local function check_pending(pending)
  local id, owner = pending[1], pending[2]
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then
    -- Deleted from the stream: nothing is left to deliver.
    if owner == WAITING then
      redis.call('XACK', stream, group, id)
      redis.call('HDEL', notes, id)
    end
    return 0
  end
  local key = key_of(entry[2])
  if owner == WAITING then
    restore(id, key, deliveries_of(pending))
  elseif key and not valid_key_queue(key) and redis.call('ZSCORE', consumers, owner) then
    set_key_queue(key, count_parked(key), owner)
  end
  local size = 0
  for _, text in ipairs(entry[2]) do
    size = size + #text
  end
  return size
end

local function check_key_queue(key)
  local queue = valid_key_queue(key)
  local count = count_parked(key)
  if not queue then
    loaded[key] = { count, '' }
    release_next(key)
  elseif queue[1] ~= count then
    set_key_queue(key, count, queue[2])
  end
end

local NEXT = { due = 'parked', parked = 'pending', pending = 'queues', queues = '' }
local next_cursor = ''
if phase == 'pending' then
  local page = redis.call('XPENDING', stream, group, cursor == '' and '-' or '(' .. cursor, '+', PAGE)
  local size, last = 0, 0
  for at, pending in ipairs(page) do
    size, last = size + check_pending(pending), at
    if size > PAGE_BYTES then
      break
    end
  end
  if last > 0 and (last < #page or #page == PAGE) then
    next_cursor = page[last][1]
  end
else
  local command, key = 'ZSCAN', phase == 'due' and due or parked
  local look = phase == 'due' and check_due or check_parked
  if phase == 'queues' then
    command, key, look = 'HSCAN', key_queues, check_key_queue
  end
  local page = redis.call(command, key, cursor == '' and '0' or cursor, 'COUNT', PAGE)
  for i = 1, #page[2], 2 do
    look(page[2][i])
  end
  next_cursor = page[1] ~= '0' and page[1] or ''
end
store_key_queues()
if restored > 0 or unparked > 0 then
  redis.call('PUBLISH', wake, '')
end
return { next_cursor == '' and NEXT[phase] or phase, next_cursor, damaged, restored }
