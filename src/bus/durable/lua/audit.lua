-- One page of a look through what is known of a group's messages: what is lost is put back, what cannot be read is removed.
--
-- A message that nobody has is due or parked, and a lane names a message that is due or a consumer. The phases come in this order, since
-- each relies on the one before: `due` and `parked` remove what is not pending with nobody, `pending` adds what is missing, `lanes` ends
-- those of keys that have nothing left.
--
-- KEYS, ARGV[1..4]  see group.lua
-- ARGV[5]  text     the phase
-- ARGV[6]  text     where it goes on: a cursor, in `pending` an id; '' at its start
--
-- Returns {phase, where it goes on, records removed, messages put back}; the phase is '' after the last page.
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

-- The lane of `key` if what it says can be: who has its messages is one of the group, or what is due is.
local function sound_lane(key)
  local lane = lane_of(key)
  if not lane then
    return nil
  end
  local id = string.sub(lane[2], 1, 1) == '~' and string.sub(lane[2], 2)
  if id then
    return redis.call('ZSCORE', due, id .. ':' .. key) and lane or nil
  end
  return redis.call('ZSCORE', consumers, lane[2]) and lane or nil
end

local function count_parked(key)
  local prefix = prefix_of(key)
  return redis.call('ZLEXCOUNT', parked, '[' .. prefix, '(' .. prefix .. ':')
end

local function look_at_due(member)
  local id = (#member == 41 or string.sub(member, 42, 42) == ':' and #member > 42) and unpad(member)
  if not id or not is_waiting(id) then
    redis.call('ZREM', due, member)
    damaged = damaged + (id and 0 or 1)
  end
end

local function look_at_parked(member)
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
  local lane = sound_lane(key)
  local place = prefix_of(key) .. pad(id)
  local is_parked = redis.call('ZSCORE', parked, place)
  if not (is_due or is_parked) then
    restored = restored + 1
  end
  if not lane then
    -- The earliest of its key that nobody has: pages go by id.
    redis.call('ZREM', parked, place)
    if not is_due then
      redis.call('ZADD', due, deliveries > 0 and now or 0, member)
    end
    set_lane(key, count_parked(key), due_of(id))
  elseif lane[2] ~= due_of(id) then
    redis.call('ZREM', due, member)
    redis.call('ZADD', parked, 0, place)
    set_lane(key, count_parked(key), lane[2])
  end
end

-- Gives the size of its message.
local function look_at_pending(pending)
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
  elseif key and not sound_lane(key) and redis.call('ZSCORE', consumers, owner) then
    set_lane(key, count_parked(key), owner)
  end
  local size = 0
  for _, text in ipairs(entry[2]) do
    size = size + #text
  end
  return size
end

local function look_at_lane(key)
  local lane = sound_lane(key)
  local count = count_parked(key)
  if not lane then
    known[key] = { count, '' }
    advance(key)
  elseif lane[1] ~= count then
    set_lane(key, count, lane[2])
  end
end

local NEXT = { due = 'parked', parked = 'pending', pending = 'lanes', lanes = '' }
local goes_on = ''
if phase == 'pending' then
  local page = redis.call('XPENDING', stream, group, cursor == '' and '-' or '(' .. cursor, '+', PAGE)
  local size, last = 0, 0
  for at, pending in ipairs(page) do
    size, last = size + look_at_pending(pending), at
    if size > PAGE_BYTES then
      break
    end
  end
  if last > 0 and (last < #page or #page == PAGE) then
    goes_on = page[last][1]
  end
else
  local command, key = 'ZSCAN', phase == 'due' and due or parked
  local look = phase == 'due' and look_at_due or look_at_parked
  if phase == 'lanes' then
    command, key, look = 'HSCAN', lanes, look_at_lane
  end
  local page = redis.call(command, key, cursor == '' and '0' or cursor, 'COUNT', PAGE)
  for i = 1, #page[2], 2 do
    look(page[2][i])
  end
  goes_on = page[1] ~= '0' and page[1] or ''
end
store_lanes()
if restored > 0 or unparked > 0 then
  redis.call('PUBLISH', wake, '')
end
return { goes_on == '' and NEXT[phase] or phase, goes_on, damaged, restored }
