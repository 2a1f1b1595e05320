-- What the scripts of a consumer group share; it stands before each of them.
--
-- A message that was read is pending until it is acknowledged. It is with a consumer, which has it in hand, or with
-- `~waiting`, and then it is either due (deliverable from a time on) or parked behind an earlier one of its key.
-- A key of which a message was read and is not acknowledged has a lane. Later messages of the key are parked unless they
-- can go to the consumer that has all the earlier ones.
--
-- KEYS[1]  stream      the topic
-- KEYS[2]  hash        lanes: message key -> `<count of parked>:<consumer>`, or `<count of parked>:~<id>` of the message that is due
-- KEYS[3]  sorted set  due: `<id>` or `<id>:<key>` -> ms of server time; 0 for one that was never tried
-- KEYS[4]  sorted set  parked: `<length of key>:<key>:<id>`, all of score 0
-- KEYS[5]  hash        notes: start -> the id after which the group began; lease, wait -> the longest claimAfterMs and maxDelayMs of a
--                      consumer, in ms; message id -> its last error
-- KEYS[6]  sorted set  consumers: name -> ms of server time when its lease ends
-- KEYS[7]  stream      dead letters
-- ARGV[1]  text        the group
-- ARGV[2]  text        the consumer that asks
-- ARGV[3]  ms          its lease
-- ARGV[4]  channel     wakes the topic's consumers
-- In sets an id is written with leading zeros, so that the order of texts is that of ids.
-- Anyone may have written to these keys, or deleted them: what cannot be read is removed and counted, and `audit` puts back what is lost.
local stream, lanes, due, parked, notes, consumers, dead = unpack(KEYS)
local group, me, lease, wake = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local WAITING = '~waiting'

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Records that could not be read.
local damaged = 0

local function pad(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

-- The id that stands at the start of `text` with leading zeros; nil if none does.
local function unpad(text)
  local ms, seq = string.sub(text, 1, 20), string.sub(text, 22, 41)
  if #seq < 20 or string.sub(text, 21, 21) ~= '-' or string.find(ms .. seq, '%D') then
    return nil
  end
  return string.match(ms, '^0*(%d+)$') .. '-' .. string.match(seq, '^0*(%d+)$')
end

-- How often a message was delivered; anyone can claim one with any number.
local function deliveries_of(pending)
  return math.min(pending[4], 1000000000)
end

-- The key of a message; other programs may write one that is empty, which is none.
local function key_of(fields)
  local key = field(fields, 'key')
  return key ~= '' and key or nil
end

-- Lanes are read once and written once, at the end.
local known, changed = {}, {}

local function remember(key, text)
  local lane = false
  if text then
    local count, owner = string.match(text, '^(%d+):(.+)$')
    if count and #count < 16 then
      lane = { tonumber(count), owner }
    else
      damaged = damaged + 1
    end
  end
  known[key] = lane
  return lane
end

-- The owner of a lane whose first message is due.
local function due_of(id)
  return '~' .. pad(id)
end

local function due_member(id, key)
  return key and pad(id) .. ':' .. key or pad(id)
end

local function lane_of(key)
  local lane = known[key]
  if lane == nil then
    lane = remember(key, redis.call('HGET', lanes, key))
  end
  return lane
end

-- As `lane_of` for up to 1000 keys that are not known yet.
local function look_up_lanes(keys)
  if #keys > 0 then
    for i, text in ipairs(redis.call('HMGET', lanes, unpack(keys))) do
      remember(keys[i], text)
    end
  end
end

local function set_lane(key, count, owner)
  known[key] = { count, owner }
  changed[key] = true
end

local function store_lanes()
  local set, gone = {}, {}
  for key in pairs(changed) do
    local lane = known[key]
    if lane then
      set[#set + 1] = key
      set[#set + 1] = lane[1] .. ':' .. lane[2]
    else
      gone[#gone + 1] = key
    end
  end
  -- Lua's stack is bounded.
  for first = 1, #set, 1000 do
    redis.call('HSET', lanes, unpack(set, first, math.min(first + 999, #set)))
  end
  for first = 1, #gone, 1000 do
    redis.call('HDEL', lanes, unpack(gone, first, math.min(first + 999, #gone)))
  end
end

local function prefix_of(key)
  return #key .. ':' .. key .. ':'
end

-- How many were unparked by this script.
local unparked = 0

-- Up to `most` of the messages parked for `key`, the earliest first, as they are in the set, and their ids.
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

-- Nobody has a message of `key` any more: the next one becomes due, or the lane ends.
local function advance(key)
  local lane = lane_of(key)
  local count = lane and lane[1] or 0
  local members, ids = {}, {}
  if count > 0 then
    members, ids = parked_of(key, 1)
  end
  if ids[1] then
    unpark(members, 1)
    redis.call('ZADD', due, 0, due_member(ids[1], key))
    set_lane(key, count - 1, due_of(ids[1]))
  else
    known[key] = false
    changed[key] = true
  end
end

-- Gives what `other` has in hand back to the group. `note` is the error of what was tried.
local function take_over(other, note)
  repeat
    local page = redis.call('XPENDING', stream, group, '-', '+', 100, other)
    for _, pending in ipairs(page) do
      local id, deliveries = pending[1], deliveries_of(pending)
      local entry = redis.call('XCLAIM', stream, group, WAITING, 0, id, 'RETRYCOUNT', deliveries)[1]
      if entry then
        redis.call('HSET', notes, id, note)
        local key = key_of(entry[2])
        local lane = key and lane_of(key)
        if lane and lane[2] ~= other then
          redis.call('ZADD', parked, 0, prefix_of(key) .. pad(id))
          set_lane(key, lane[1] + 1, lane[2])
        else
          redis.call('ZADD', due, now, due_member(id, key))
          if key then
            set_lane(key, lane and lane[1] or 0, due_of(id))
          end
        end
      else
        -- Deleted from the stream: nothing is left to deliver.
        redis.call('XACK', stream, group, id)
      end
    end
  until #page == 0
  -- A lane whose messages were all deleted would stand for ever.
  local owned = redis.call('HGETALL', lanes)
  for i = 1, #owned, 2 do
    local lane = lane_of(owned[i])
    if lane and lane[2] == other then
      advance(owned[i])
    end
  end
  redis.call('XGROUP', 'DELCONSUMER', stream, group, other)
  redis.call('ZREM', consumers, other)
end

-- ms until something is due; -1 if nothing will be.
local function next_due()
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  return first and math.max(0, tonumber(first) - now) or -1
end

-- Is `me` still a consumer of the group? If so its lease starts again.
local function renew()
  local ends = redis.call('ZSCORE', consumers, me)
  if not ends then
    return false
  end
  -- Not at every turn: a write costs more than a look. That it was over is for `tend` to see.
  local left = tonumber(ends) - now
  if left >= 0 and left < lease * 0.75 then
    redis.call('ZADD', consumers, now + lease, me)
  end
  return true
end
