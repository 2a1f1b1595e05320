-- One turn of a consumer: settles what it has done with messages and gives it new ones.
--
-- A turn whose answer was lost is made again together with what the consumer knows that it has: what it was given and knows nothing
-- of goes back to the group first, so that making the turn again changes nothing twice.
--
-- KEYS, ARGV[1..4]  see group.lua
-- ARGV[5]  number   deliveries after which a message is a dead letter
-- ARGV[6]  number   the most messages to give that were tried before
-- ARGV[7]  number   the most others, each of another key
-- ARGV[8]  number   the most that follow one of their key
-- ARGV[9]  number   parked messages of the group from which on nothing new is read
-- ARGV[10] number   deliveries that do not count for what it was given and does not know of
-- ARGV[11] number   how many messages it knows that it has; -1: it knows all that it was given
--          pairs    id and key ('' for none) of each
-- next     number   how many messages are acknowledged of which there is no note
--          ids      of each
-- rest     sixes    settlements of others: what ('ack', 'retry', 'return', 'dead', 'free': its message is among those before), id, key ('' for none),
--                   1 if the consumer has no other message of that key, a number (retry: ms until then, return: deliveries
--                   to count, dead: attempts), last error
--
-- Returns {0}: the consumer is not one of the group (any more), only its acknowledgements counted; or {1, ms until something is
-- due or -1, 1 if more can be given, given again, given for the first time, damaged, trouble, buried}, where a message given again
-- is {deliveries, last error or nil, id, fields}, and the last three are there only where there is something to tell: how many records
-- could not be read; why a dead letter could not be written, or ''; of each dead letter its id, that in the topic, attempts and error, flat. Of the others there are three each, flat: id, key ('' for none) and message; or id, all its fields and ''.
local most, slots, heads, followers, window = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local uncounted = tonumber(ARGV[10])
local at = 11
-- Whether the others must look: something became due, or there is room for parked messages again.
local tell = false

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

local function forget(id)
  redis.call('XACK', stream, group, id)
  redis.call('HDEL', notes, id)
end

-- Dead letters that could not be written wait so long, in ms.
local BURY_AGAIN = 60000
-- Why one could not, and those that were written.
local trouble
local buried = {}

-- False if it could not be written: then the message is due again later, and holds up its key.
local function bury(id, fields, attempts, error)
  -- Lua's stack is bounded; an entry of ours has at most ten.
  local words = { 'id', id, 'attempts', string.format('%.0f', attempts), 'error', string.sub(error, 1, 1024) }
  for i = 1, math.min(#fields, 1000) do
    words[#words + 1] = fields[i]
  end
  local put = redis.pcall('XADD', dead, '*', unpack(words))
  if type(put) == 'string' then
    for _, text in ipairs({ put, id, words[4], words[6] }) do
      buried[#buried + 1] = text
    end
    forget(id)
    return true
  end
  trouble = put.err
  redis.call('XCLAIM', stream, group, WAITING, 0, id, 'JUSTID')
  local key = key_of(fields)
  redis.call('ZADD', due, now + BURY_AGAIN, due_member(id, key))
  if key then
    local lane = lane_of(key)
    set_lane(key, lane and lane[1] or 0, due_of(id))
  end
  return false
end

-- Attempts of an earlier life; anyone may have written them.
local function attempts_of(fields)
  local text = string.match(field(fields, '~attempts') or '', '^%d+$')
  return text and #text < 16 and tonumber(text) or 0
end

-- What nobody tried goes to the front of those that are due; a message of a key behind those of its key.
local function hand_back(id, key, deliveries)
  redis.call('XCLAIM', stream, group, WAITING, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID')
  if key then
    local lane = lane_of(key)
    redis.call('ZADD', parked, 0, prefix_of(key) .. pad(id))
    set_lane(key, (lane and lane[1] or 0) + 1, lane and lane[2] or me)
  else
    redis.call('ZADD', due, deliveries > 0 and now or 0, pad(id))
  end
  tell = true
end

local function hand_back_unknown(count)
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
        local lane = key and lane_of(key)
        if not entry then
          forget(id)
        elseif lane and (lane[2] ~= me or keys[key]) then
          hand_back(id, key, deliveries)
        else
          redis.call('XCLAIM', stream, group, WAITING, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID')
          redis.call('ZADD', due, deliveries > 0 and now or 0, due_member(id, key))
          if key then
            set_lane(key, lane and lane[1] or 0, due_of(id))
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
    if ARGV[i] == 'ack' then
      forget(ARGV[i + 1])
    end
  end
  return { 0 }
end

local count = tonumber(ARGV[at])
if count >= 0 then
  hand_back_unknown(count)
end
at = acknowledge_plain(at + 1 + 2 * math.max(0, count))

for i = at, #ARGV, 6 do
  local what, id, key, number = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 4])
  local last, error = ARGV[i + 3] == '1', ARGV[i + 5]
  key = key ~= '' and key or nil
  if what == 'ack' then
    forget(id)
  elseif what ~= 'free' and is_mine(id) then
    if what == 'retry' then
      redis.call('XCLAIM', stream, group, WAITING, 0, id, 'JUSTID')
      redis.call('HSET', notes, id, error)
      redis.call('ZADD', due, now + number, due_member(id, key))
      tell = true
      if key then
        local lane = lane_of(key)
        set_lane(key, lane and lane[1] or 0, due_of(id))
      end
    elseif what == 'return' then
      hand_back(id, key, number)
    else
      local entry = redis.call('XRANGE', stream, id, id)[1]
      if entry then
        bury(id, entry[2], number, error)
      else
        forget(id)
      end
    end
  end
  -- One that could not be buried has its lane by now.
  local lane = last and key and lane_of(key)
  if lane and lane[2] == me then
    advance(key)
    tell = true
  end
end

-- What is due, as long as there is room.
local again = {}

-- Gives up to `most` messages that follow one of `key`, up to the first that was tried before: it would have to be told so.
local function follow(key, most)
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
      again[#again + 1] = { 1, false, entry[1], entry[2] }
    end
  end
  for i = 1, count do
    if not given[ids[i]] then
      forget(ids[i])
    end
  end
  return count
end

local function give(member)
  redis.call('ZREM', due, member)
  local id = (#member == 41 or string.sub(member, 42, 42) == ':' and #member > 42) and unpad(member)
  if not id then
    damaged = damaged + 1
    return 0
  end
  local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
  if pending and pending[2] ~= WAITING then
    -- Somebody has it.
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
    -- Acknowledged or deleted meanwhile, or its consumers went away with it too often.
    local gone = true
    if entry then
      gone = bury(id, entry[2], attempts_of(entry[2]) + deliveries - 1, redis.call('HGET', notes, id) or '')
    else
      forget(id)
    end
    if gone and key then
      advance(key)
    end
    return 0
  end
  again[#again + 1] = { deliveries, deliveries > 1 and redis.call('HGET', notes, id) or false, id, entry[2] }
  if key then
    local lane = lane_of(key)
    local left = lane and lane[1] or 0
    -- What follows one that failed before waits until it has succeeded.
    if left > 0 and deliveries == 1 and followers > 0 then
      local given = follow(key, math.min(followers, 32))
      followers = followers - given
      left = math.max(0, left - given)
    end
    set_lane(key, left, me)
  end
  return 1
end

local crowded = heads > 0 and redis.call('ZCARD', parked) >= window
local first_due = redis.call('ZRANGE', due, 0, 0)[1]
local rounds = 0
while first_due and rounds < 16 do
  rounds = rounds + 1
  local given = 0
  if heads > 0 then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, 0, 0, 'LIMIT', 0, heads)) do
      local one = give(member)
      heads, given = heads - one, given + 1
    end
  end
  if slots > 0 then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '(0', now, 'LIMIT', 0, slots)) do
      local one = give(member)
      slots, heads, given = slots - one, heads - one, given + 1
    end
  end
  if given == 0 then
    break
  end
end
-- What could be given now and is not goes before what is new.
local left = first_due and redis.call('ZCOUNT', due, 0, now) or 0

-- What is new.
-- What can neither run nor follow is parked, which costs: so no more is read than that, unless a handler would be idle.
local fresh, more, foreign, set_aside = {}, left > 0 and heads > 0 and slots > 0, {}, {}
local all_read = false
local given = 0

-- Flat, since each table of an answer costs the server as much as the message in it.
local function add_fresh(id, key, data, fields)
  fresh[given + 1] = id
  fresh[given + 2] = data and key or fields
  fresh[given + 3] = data or ''
  given = given + 3
end

rounds = 0
while heads > 0 and (followers > 0 or slots > 0) and left == 0 and rounds < 8 and not crowded do
  rounds = rounds + 1
  local most_read = math.min(heads, followers > 0 and followers or slots)
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
        if known[key] == nil then
          known[key] = false
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
  look_up_lanes(unknown)
  for at_entry, entry in ipairs(entries) do
    local id, key, to = entry[1], keys[at_entry], recipients[at_entry]
    local lane = key and known[key]
    if to and to ~= group then
      foreign[#foreign + 1] = id
    elseif not lane then
      add_fresh(id, key or '', data[at_entry], entry[2])
      heads, slots = heads - 1, slots - 1
      if key then
        set_lane(key, 0, me)
      end
    elseif lane[2] == me and lane[1] == 0 and followers > 0 then
      add_fresh(id, key, data[at_entry], entry[2])
      followers = followers - 1
    else
      redis.call('ZADD', parked, 0, prefix_of(key) .. pad(id))
      set_lane(key, lane[1] + 1, lane[2])
      set_aside[#set_aside + 1] = id
    end
  end
  if not more then
    break
  end
  if #set_aside > 0 then
    crowded = redis.call('ZCARD', parked) >= window
  end
end
for first = 1, #foreign, 1000 do
  redis.call('XACK', stream, group, unpack(foreign, first, math.min(first + 999, #foreign)))
end
for first = 1, #set_aside, 1000 do
  local ids = { unpack(set_aside, first, math.min(first + 999, #set_aside)) }
  ids[#ids + 1] = 'RETRYCOUNT'
  ids[#ids + 1] = 0
  ids[#ids + 1] = 'JUSTID'
  redis.call('XCLAIM', stream, group, WAITING, 0, unpack(ids))
end
store_lanes()
local due_in = next_due()
local roomier = false
if unparked > 0 then
  local size = redis.call('ZCARD', parked)
  roomier = size < window and size + unparked >= window
end
if roomier or tell and due_in >= 0 then
  redis.call('PUBLISH', wake, '')
end
local answer = { 1, due_in, more and 1 or all_read and 0 or -1, again, fresh }
if damaged > 0 or trouble or #buried > 0 then
  answer[6], answer[7], answer[8] = damaged, trouble or '', buried
end
return answer
