-- One poll of a consumer: settles its messages, and delivers new ones.
--
-- A poll whose answer was lost is repeated together with the ids that the consumer knows. Messages that it was given and does not
-- know go back to the group first, so that a repeated poll changes nothing twice.
--
-- KEYS, ARGV[1..4]  see group.lua
-- ARGV[5]  number   deliveries after which a message is a dead letter
-- ARGV[6]  number   slots: the most messages to deliver that were tried before
-- ARGV[7]  number   new_keys: the most other messages, each of another key
-- ARGV[8]  number   same_key: the most messages that follow another one of their key
-- ARGV[9]  number   window: the number of parked messages from which on nothing new is read
-- ARGV[10] number   uncounted: deliveries that do not count for messages that the consumer does not know
-- ARGV[11] number   how many messages the consumer knows; -1: it knows all that it was given
--          pairs    id and key ('' for none) of each
-- next     number   how many acknowledged messages without a note
--          ids      of each
-- rest     sixes    other settlements: the action (see ACK), id, key ('' for none), 1 if the consumer has no other message of that key,
--                   a number (RETRY: ms until then, RETURN: deliveries to count, DEAD: attempts), last error
--
-- Returns {0}: the consumer is not a member of the group, and only its acknowledgements counted; or {1, ms until the next message is due or
-- -1, more, redelivered, first_time, damaged, dead_letter_error, dead_letters}. The last three are left out where they are empty.
--   more               1: more can be delivered; 0: the group has read the whole stream; -1: neither
--   redelivered        {deliveries, last error or nil, id, fields} each
--   first_time         flat: id, key ('' for none), message; or id, all fields, ''
--   damaged            damaged records that were removed
--   dead_letter_error  why a dead letter could not be written, or ''
--   dead_letters       flat: id of the dead letter, id in the topic, attempts, error
local most, slots, new_keys, same_key, window = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local uncounted = tonumber(ARGV[10])
-- Actions of settlements. ACKED: the message is among those that are acknowledged without a note.
local ACK, ACKED, RETRY, RETURN, DEAD = 'ack', 'acked', 'retry', 'return', 'dead'
local at = 11
-- Must the other consumers poll? Messages became due, or parked messages have room again.
local wake_others = false

local function acknowledge_plain(from)
  local count = tonumber(ARGV[from])
  for first = from + 1, from + count, 1000 do
    redis.call('XACK', stream, group, unpack(ARGV, first, math.min(first + 999, from + count)))
  end
  return from + count + 1
end

local function is_mine(id)
  local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
  return pending and pending[2] == me
end

local function acknowledge(id)
  redis.call('XACK', stream, group, id)
  redis.call('HDEL', notes, id)
end

-- How long a message waits after its dead letter could not be written, in ms.
local DEAD_LETTER_RETRY = 60000
-- Why a dead letter could not be written, and the dead letters that were.
local dead_letter_error
local dead_letters = {}

-- Writes a dead letter. Returns false if it could not be written: then the message is due again later, and holds up its key.
local function dead_letter(id, fields, attempts, error)
  -- Lua's stack is bounded; entries of this package have at most ten fields.
  local words = { 'id', id, 'attempts', string.format('%.0f', attempts), 'error', string.sub(error, 1, 1024) }
  for i = 1, math.min(#fields, 1000) do
    words[#words + 1] = fields[i]
  end
  local put = redis.pcall('XADD', dead, '*', unpack(words))
  if type(put) == 'string' then
    for _, text in ipairs({ put, id, words[4], words[6] }) do
      dead_letters[#dead_letters + 1] = text
    end
    acknowledge(id)
    return true
  end
  dead_letter_error = put.err
  redis.call('XCLAIM', stream, group, WAITING, 0, id, 'JUSTID')
  local key = key_of(fields)
  redis.call('ZADD', due, now + DEAD_LETTER_RETRY, due_member(id, key))
  if key then
    local queue = key_queue_of(key)
    set_key_queue(key, queue and queue[1] or 0, due_owner(id))
  end
  return false
end

-- Attempts before an earlier dead letter was redriven; other programs may have written any text.
local function attempts_of(fields)
  local text = string.match(field(fields, '~attempts') or '', '^%d+$')
  return text and #text < 16 and tonumber(text) or 0
end

-- A message that no handler tried is due at once. A message with a key is parked behind the earlier messages of its key.
local function give_back(id, key, deliveries)
  redis.call('XCLAIM', stream, group, WAITING, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID')
  if key then
    local queue = key_queue_of(key)
    redis.call('ZADD', parked, 0, prefix_of(key) .. pad(id))
    set_key_queue(key, (queue and queue[1] or 0) + 1, queue and queue[2] or me)
  else
    redis.call('ZADD', due, deliveries > 0 and now or 0, pad(id))
  end
  wake_others = true
end

local function give_back_unknown(count)
  local ids, keys = {}, {}
  for i = at + 1, at + 2 * count, 2 do
    ids[ARGV[i]] = true
    keys[ARGV[i + 1]] = true
  end
  local from = '-'
  repeat
    local page = redis.call('XPENDING', stream, group, from, '+', 100, me)
    for _, pending in ipairs(page) do
      local id, deliveries = pending[1], math.max(0, deliveries_of(pending) - uncounted)
      if not ids[id] then
        local entry = redis.call('XCLAIM', stream, group, me, 0, id, 'RETRYCOUNT', deliveries)[1]
        local key = entry and key_of(entry[2])
        local queue = key and key_queue_of(key)
        if not entry then
          acknowledge(id)
        elseif queue and (queue[2] ~= me or keys[key]) then
          give_back(id, key, deliveries)
        else
          redis.call('XCLAIM', stream, group, WAITING, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID')
          redis.call('ZADD', due, deliveries > 0 and now or 0, due_member(id, key))
          if key then
            set_key_queue(key, queue and queue[1] or 0, due_owner(id))
          end
        end
      end
      from = '(' .. id
    end
  until #page == 0
end

if not renew() then
  at = at + 1 + 2 * math.max(0, tonumber(ARGV[at]))
  at = acknowledge_plain(at)
  for i = at, #ARGV, 6 do
    if ARGV[i] == ACK then
      acknowledge(ARGV[i + 1])
    end
  end
  return { 0 }
end

local count = tonumber(ARGV[at])
if count >= 0 then
  give_back_unknown(count)
end
at = acknowledge_plain(at + 1 + 2 * math.max(0, count))

for i = at, #ARGV, 6 do
  local action, id, key, number = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 4])
  local last, error = ARGV[i + 3] == '1', ARGV[i + 5]
  key = key ~= '' and key or nil
  if action == ACK then
    acknowledge(id)
  elseif action ~= ACKED and is_mine(id) then
    if action == RETRY then
      redis.call('XCLAIM', stream, group, WAITING, 0, id, 'JUSTID')
      redis.call('HSET', notes, id, error)
      redis.call('ZADD', due, now + number, due_member(id, key))
      wake_others = true
      if key then
        local queue = key_queue_of(key)
        set_key_queue(key, queue and queue[1] or 0, due_owner(id))
      end
    elseif action == RETURN then
      give_back(id, key, number)
    elseif action == DEAD then
      local entry = redis.call('XRANGE', stream, id, id)[1]
      if entry then
        dead_letter(id, entry[2], number, error)
      else
        acknowledge(id)
      end
    end
  end
  -- A message whose dead letter could not be written has made its key due already.
  local queue = last and key and key_queue_of(key)
  if queue and queue[2] == me then
    release_next(key)
    wake_others = true
  end
end

-- Due messages, while there is room.
local redelivered = {}

-- Delivers up to `most` parked messages of `key`, until one that was tried before: its last error must be delivered with it.
local function deliver_parked(key, most)
  local members, ids = parked_of(key, most)
  if #members == 0 then
    return 0
  end
  local tried = redis.call('HMGET', notes, unpack(ids))
  local count = #ids
  for i = 1, #ids do
    if tried[i] then
      count = i - 1
      break
    end
  end
  unpark(members, count)
  if count == 0 then
    return 0
  end
  local given = {}
  for _, entry in ipairs(redis.call('XCLAIM', stream, group, me, 0, unpack(ids, 1, count))) do
    if entry then
      given[entry[1]] = true
      redelivered[#redelivered + 1] = { 1, false, entry[1], entry[2] }
    end
  end
  for i = 1, count do
    if not given[ids[i]] then
      acknowledge(ids[i])
    end
  end
  return count
end

local function deliver(member)
  redis.call('ZREM', due, member)
  local id = (#member == 41 or string.sub(member, 42, 42) == ':' and #member > 42) and unpad(member)
  if not id then
    damaged = damaged + 1
    return 0
  end
  local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
  if pending and pending[2] ~= WAITING then
    -- A consumer has it.
    return 0
  end
  local deliveries = pending and deliveries_of(pending) + 1
  local entry = pending and redis.call('XCLAIM', stream, group, me, 0, id, 'RETRYCOUNT', deliveries)[1]
  local key
  if entry then
    key = key_of(entry[2])
  else
    key = #member > 42 and string.sub(member, 43) or nil
  end
  if not entry or deliveries > most then
    -- Acknowledged or deleted meanwhile, or its consumers crashed too often.
    local gone = true
    if entry then
      gone = dead_letter(id, entry[2], attempts_of(entry[2]) + deliveries - 1, redis.call('HGET', notes, id) or '')
    else
      acknowledge(id)
    end
    if gone and key then
      release_next(key)
    end
    return 0
  end
  redelivered[#redelivered + 1] = { deliveries, deliveries > 1 and redis.call('HGET', notes, id) or false, id, entry[2] }
  if key then
    local queue = key_queue_of(key)
    local left = queue and queue[1] or 0
    -- Messages behind one that failed before wait until it has succeeded.
    if left > 0 and deliveries == 1 and same_key > 0 then
      local given = deliver_parked(key, math.min(same_key, 32))
      same_key = same_key - given
      left = math.max(0, left - given)
    end
    set_key_queue(key, left, me)
  end
  return 1
end

local too_many_parked = new_keys > 0 and redis.call('ZCARD', parked) >= window
local first_due = redis.call('ZRANGE', due, 0, 0)[1]
local rounds = 0
while first_due and rounds < 16 do
  rounds = rounds + 1
  local given = 0
  if new_keys > 0 then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, 0, 0, 'LIMIT', 0, new_keys)) do
      local one = deliver(member)
      new_keys, given = new_keys - one, given + 1
    end
  end
  if slots > 0 then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '(0', now, 'LIMIT', 0, slots)) do
      local one = deliver(member)
      slots, new_keys, given = slots - one, new_keys - one, given + 1
    end
  end
  if given == 0 then
    break
  end
end
-- Messages that are due now go before new ones.
local left = first_due and redis.call('ZCOUNT', due, 0, now) or 0

-- New messages. A message that has neither a free handler nor room to queue is parked, which is expensive. So no more is read
-- than fits, unless a handler would be idle.
local first_time, more, foreign, to_park = {}, left > 0 and new_keys > 0 and slots > 0, {}, {}
local all_read = false
local given = 0

-- Flat, because each table of an answer costs the server as much as the message in it.
local function add_first_time(id, key, data, fields)
  first_time[given + 1] = id
  first_time[given + 2] = data and key or fields
  first_time[given + 3] = data or ''
  given = given + 3
end

rounds = 0
while new_keys > 0 and (same_key > 0 or slots > 0) and left == 0 and rounds < 8 and not too_many_parked do
  rounds = rounds + 1
  local most_read = math.min(new_keys, same_key > 0 and same_key or slots)
  local read = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', most_read, 'STREAMS', stream, '>')
  local entries = read and read[1][2] or {}
  more = #entries == most_read
  all_read = not more
  local keys, recipients, data, unknown = {}, {}, {}, {}
  for at_entry, entry in ipairs(entries) do
    local fields = entry[2]
    if #fields == 2 and fields[1] == 'data' then
      data[at_entry] = fields[2]
    else
      local key = key_of(fields)
      if key then
        keys[at_entry] = key
        if loaded[key] == nil then
          loaded[key] = false
          unknown[#unknown + 1] = key
        end
      end
      if #fields == 4 and fields[1] == 'key' and fields[3] == 'data' then
        data[at_entry] = fields[4]
      else
        recipients[at_entry] = field(fields, '~group')
      end
    end
  end
  load_key_queues(unknown)
  for at_entry, entry in ipairs(entries) do
    local id, key, to = entry[1], keys[at_entry], recipients[at_entry]
    local queue = key and loaded[key]
    if to and to ~= group then
      foreign[#foreign + 1] = id
    elseif not queue then
      add_first_time(id, key or '', data[at_entry], entry[2])
      new_keys, slots = new_keys - 1, slots - 1
      if key then
        set_key_queue(key, 0, me)
      end
    elseif queue[2] == me and queue[1] == 0 and same_key > 0 then
      add_first_time(id, key, data[at_entry], entry[2])
      same_key = same_key - 1
    else
      redis.call('ZADD', parked, 0, prefix_of(key) .. pad(id))
      set_key_queue(key, queue[1] + 1, queue[2])
      to_park[#to_park + 1] = id
    end
  end
  if not more then
    break
  end
  if #to_park > 0 then
    too_many_parked = redis.call('ZCARD', parked) >= window
  end
end
for first = 1, #foreign, 1000 do
  redis.call('XACK', stream, group, unpack(foreign, first, math.min(first + 999, #foreign)))
end
for first = 1, #to_park, 1000 do
  local ids = { unpack(to_park, first, math.min(first + 999, #to_park)) }
  ids[#ids + 1] = 'RETRYCOUNT'
  ids[#ids + 1] = 0
  ids[#ids + 1] = 'JUSTID'
  redis.call('XCLAIM', stream, group, WAITING, 0, unpack(ids))
end
store_key_queues()
local due_in = next_due()
local roomier = false
if unparked > 0 then
  local size = redis.call('ZCARD', parked)
  roomier = size < window and size + unparked >= window
end
if roomier or wake_others and due_in >= 0 then
  redis.call('PUBLISH', wake, '')
end
local answer = { 1, due_in, more and 1 or all_read and 0 or -1, redelivered, first_time }
if damaged > 0 or dead_letter_error or #dead_letters > 0 then
  answer[6], answer[7], answer[8] = damaged, dead_letter_error or '', dead_letters
end
return answer
