-- What the scripts of a consumer group share; it stands before each of them.
--
-- A message that was read is pending until it is acknowledged. It is with a consumer, which has it in hand, or with
-- `~waiting`, and then it is either due (deliverable from a time on) or parked behind an earlier one of its key.
-- A key of which a message was read and is not acknowledged has a lane. Later messages of the key are parked unless they
-- can go to the consumer that has all the earlier ones.
--
-- KEYS[1]  stream      the topic
-- KEYS[2]  hash        lanes: message key -> `<count of parked>:<consumer>`; no consumer: the first message is due
-- KEYS[3]  sorted set  due: `<id>` or `<id>:<key>` -> ms of server time; 0 for one that was never tried
-- KEYS[4]  sorted set  parked: `<length of key>:<key>:<id>`, all of score 0
-- KEYS[5]  hash        notes: start -> the id after which the group began; message id -> its last error
-- KEYS[6]  sorted set  consumers: name -> ms of server time when its lease ends
-- KEYS[7]  stream      dead letters
-- ARGV[1]  text        the group
-- ARGV[2]  text        the consumer that asks
-- ARGV[3]  ms          its lease
-- ARGV[4]  channel     wakes the topic's consumers
-- In sets an id is written with leading zeros, so that the order of texts is that of ids.
local stream, lanes, due, parked, notes, consumers, dead = unpack(KEYS)
local group, me, lease, wake = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local WAITING = '~waiting'

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function pad(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

local function unpad(text)
  return string.match(string.sub(text, 1, 20), '^0*(%d+)$') .. '-' .. string.match(string.sub(text, 22, 41), '^0*(%d+)$')
end

local function field(pairs_of, name)
  for i = 1, #pairs_of, 2 do
    if pairs_of[i] == name then
      return pairs_of[i + 1]
    end
  end
  return nil
end

-- Lanes are read once and written once, at the end.
local known, changed = {}, {}

local function lane_of(key)
  local lane = known[key]
  if lane == nil then
    local text = redis.call('HGET', lanes, key)
    lane = false
    if text then
      local count, owner = string.match(text, '^(%d+):(.*)$')
      lane = { tonumber(count), owner }
    end
    known[key] = lane
  end
  return lane
end

local function set_lane(key, count, owner)
  known[key] = { count, owner }
  changed[key] = true
end

local function store_lanes()
  for key in pairs(changed) do
    local lane = known[key]
    if lane then
      redis.call('HSET', lanes, key, lane[1] .. ':' .. lane[2])
    else
      redis.call('HDEL', lanes, key)
    end
  end
end

local function prefix_of(key)
  return #key .. ':' .. key .. ':'
end

-- How many were unparked by this script.
local unparked = 0

-- Up to `most` of the messages parked for `key`, the earliest first; they are parked no more.
local function unpark(key, most)
  local prefix = prefix_of(key)
  local found = redis.call('ZRANGEBYLEX', parked, '[' .. prefix, '(' .. prefix .. ':', 'LIMIT', 0, most)
  for i, member in ipairs(found) do
    redis.call('ZREM', parked, member)
    found[i] = string.sub(member, #prefix + 1)
  end
  unparked = unparked + #found
  return found
end

-- Nobody has a message of `key` any more: the next one becomes due, or the lane ends.
local function advance(key)
  local lane = lane_of(key)
  local count = lane and lane[1] or 0
  local first = count > 0 and unpark(key, 1)[1]
  if first then
    redis.call('ZADD', due, 0, first .. ':' .. key)
    set_lane(key, count - 1, '')
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
      local id, deliveries = pending[1], pending[4]
      local entry = redis.call('XCLAIM', stream, group, WAITING, 0, id, 'RETRYCOUNT', deliveries)[1]
      if entry then
        redis.call('HSET', notes, id, note)
        local key = field(entry[2], 'key')
        local lane = key and lane_of(key)
        if lane and lane[2] ~= other then
          redis.call('ZADD', parked, 0, prefix_of(key) .. pad(id))
          set_lane(key, lane[1] + 1, lane[2])
        else
          redis.call('ZADD', due, now, key and pad(id) .. ':' .. key or pad(id))
          if key then
            set_lane(key, lane and lane[1] or 0, '')
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

-- Whether `me` is a consumer of the group still; if so its lease begins anew.
local function renew()
  local ends = redis.call('ZSCORE', consumers, me)
  if not ends then
    return false
  end
  -- Not at every turn: a write costs more than a look.
  if tonumber(ends) - now < lease * 0.75 then
    redis.call('ZADD', consumers, now + lease, me)
  end
  return true
end
