-- The records of a consumer group, and the functions that its scripts share; each of these scripts starts with this file.
--
-- A message that was read is pending until it is acknowledged. Its owner is a consumer, or WAITING. A message of WAITING is
-- either due (to be delivered at a time) or parked behind an earlier message of its key. A key with unacknowledged messages has a
-- key queue. Later messages of the key are parked, unless they can go to the consumer that has all earlier ones.
--
-- KEYS[1]  stream      the topic
-- KEYS[2]  hash        key queues: message key -> `<count of parked>:<consumer>`, or `<count of parked>:~<id>` of the message that is due
-- KEYS[3]  sorted set  due: `<id>` or `<id>:<key>` -> ms of server time; 0 for a message that was never tried
-- KEYS[4]  sorted set  parked: `<length of key>:<key>:<id>`, all of score 0
-- KEYS[5]  hash        notes: start -> the id after which the group started; lease, wait -> the longest claimAfterMs and maxDelayMs of a
--                      consumer, in ms; message id -> its last error
-- KEYS[6]  sorted set  consumers: name -> ms of server time when its lease ends
-- KEYS[7]  stream      dead letters
-- ARGV[1]  text        the group
-- ARGV[2]  text        the name of the calling consumer
-- ARGV[3]  ms          its lease
-- ARGV[4]  channel     wakes the topic's consumers
-- In sets an id is written with leading zeros, so that the order of texts is the order of ids.
-- Other programs may have written or deleted these keys: damaged records are removed and counted, and `audit` restores lost ones.
local stream, key_queues, due, parked, notes, consumers, dead = unpack(KEYS)
local group, me, lease, wake = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local WAITING = '~waiting'

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Damaged records that this script removed.
local damaged = 0

local function pad(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

-- The id, written with leading zeros, at the start of `text`; nil if there is none.
local function unpad(text)
  local ms, seq = string.sub(text, 1, 20), string.sub(text, 22, 41)
  if #seq < 20 or string.sub(text, 21, 21) ~= '-' or string.find(ms .. seq, '%D') then
    return nil
  end
  return string.match(ms, '^0*(%d+)$') .. '-' .. string.match(seq, '^0*(%d+)$')
end

-- How often a message was delivered; other programs may set any number.
local function deliveries_of(pending)
  return math.min(pending[4], 1000000000)
end

-- The key of a message; an empty key, which other programs may write, counts as none.
local function key_of(fields)
  local key = field(fields, 'key')
  return key ~= '' and key or nil
end

-- Key queues are read once, and written once at the end.
local loaded, changed = {}, {}

local function parse_key_queue(key, text)
  local queue = false
  if text then
    local count, owner = string.match(text, '^(%d+):(.+)$')
    if count and #count < 16 then
      queue = { tonumber(count), owner }
    else
      damaged = damaged + 1
    end
  end
  loaded[key] = queue
  return queue
end

-- The owner in the key queue of a due message.
local function due_owner(id)
  return '~' .. pad(id)
end

local function due_member(id, key)
  return key and pad(id) .. ':' .. key or pad(id)
end

local function key_queue_of(key)
  local queue = loaded[key]
  if queue == nil then
    queue = parse_key_queue(key, redis.call('HGET', key_queues, key))
  end
  return queue
end

-- Loads up to 1000 key queues that are not loaded yet.
local function load_key_queues(keys)
  if #keys > 0 then
    for i, text in ipairs(redis.call('HMGET', key_queues, unpack(keys))) do
      parse_key_queue(keys[i], text)
    end
  end
end

local function set_key_queue(key, count, owner)
  loaded[key] = { count, owner }
  changed[key] = true
end

local function store_key_queues()
  local set, gone = {}, {}
  for key in pairs(changed) do
    local queue = loaded[key]
    if queue then
      set[#set + 1] = key
      set[#set + 1] = queue[1] .. ':' .. queue[2]
    else
      gone[#gone + 1] = key
    end
  end
  -- Lua's stack is bounded.
  for first = 1, #set, 1000 do
    redis.call('HSET', key_queues, unpack(set, first, math.min(first + 999, #set)))
  end
  for first = 1, #gone, 1000 do
    redis.call('HDEL', key_queues, unpack(gone, first, math.min(first + 999, #gone)))
  end
end

local function prefix_of(key)
  return #key .. ':' .. key .. ':'
end

-- How many messages this script unparked.
local unparked = 0

-- Up to `most` messages that are parked for `key`, the earliest first: their members in the set, and their ids.
local function parked_of(key, most)
  local prefix = prefix_of(key)
  local members, ids = {}, {}
  repeat
    local found = redis.call('ZRANGEBYLEX', parked, '[' .. prefix, '(' .. prefix .. ':', 'LIMIT', 0, most)
    for _, member in ipairs(found) do
      local id = #member == #prefix + 41 and unpad(string.sub(member, #prefix + 1))
      if id then
        members[#members + 1] = member
        ids[#ids + 1] = id
      else
        redis.call('ZREM', parked, member)
        damaged = damaged + 1
      end
    end
  until #found == 0 or #ids > 0
  return members, ids
end

local function unpark(members, count)
  if count > 0 then
    redis.call('ZREM', parked, unpack(members, 1, count))
    unparked = unparked + count
  end
end

-- No consumer has a message of `key` any more: the next one becomes due, or the key queue ends.
local function release_next(key)
  local queue = key_queue_of(key)
  local count = queue and queue[1] or 0
  local members, ids = {}, {}
  if count > 0 then
    members, ids = parked_of(key, 1)
  end
  if ids[1] then
    unpark(members, 1)
    redis.call('ZADD', due, 0, due_member(ids[1], key))
    set_key_queue(key, count - 1, due_owner(ids[1]))
  else
    loaded[key] = false
    changed[key] = true
  end
end

-- Gives all messages of the consumer `other` back to the group. `note` becomes their last error.
local function take_over(other, note)
  repeat
    local page = redis.call('XPENDING', stream, group, '-', '+', 100, other)
    for _, pending in ipairs(page) do
      local id, deliveries = pending[1], deliveries_of(pending)
      local entry = redis.call('XCLAIM', stream, group, WAITING, 0, id, 'RETRYCOUNT', deliveries)[1]
      if entry then
        redis.call('HSET', notes, id, note)
        local key = key_of(entry[2])
        local queue = key and key_queue_of(key)
        if queue and queue[2] ~= other then
          redis.call('ZADD', parked, 0, prefix_of(key) .. pad(id))
          set_key_queue(key, queue[1] + 1, queue[2])
        else
          redis.call('ZADD', due, now, due_member(id, key))
          if key then
            set_key_queue(key, queue and queue[1] or 0, due_owner(id))
          end
        end
      else
        -- Deleted from the stream: nothing is left to deliver.
        redis.call('XACK', stream, group, id)
      end
    end
  until #page == 0
  -- A key queue whose messages were all deleted would never end.
  local owned = redis.call('HGETALL', key_queues)
  for i = 1, #owned, 2 do
    local queue = key_queue_of(owned[i])
    if queue and queue[2] == other then
      release_next(owned[i])
    end
  end
  redis.call('XGROUP', 'DELCONSUMER', stream, group, other)
  redis.call('ZREM', consumers, other)
end

-- ms until the next message is due; -1 if none will be.
local function next_due()
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  return first and math.max(0, tonumber(first) - now) or -1
end

-- Renews the lease of `me`. Returns false if it is not a member of the group.
local function renew()
  local ends = redis.call('ZSCORE', consumers, me)
  if not ends then
    return false
  end
  -- Not in every poll: a write costs more than a read. A lease that has ended is for `maintain` to see.
  local left = tonumber(ends) - now
  if left >= 0 and left < lease * 0.75 then
    redis.call('ZADD', consumers, now + lease, me)
  end
  return true
end
