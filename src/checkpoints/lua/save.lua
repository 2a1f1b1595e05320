-- Saves a checkpoint, all of it or nothing. A repetition gives the same answer.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]   text    scope
-- ARGV[3]   text    id; '': this script makes an id that is greater than all ids of the scope
-- ARGV[4]   text    the name of an owner's save, the same in each repetition; or ''
-- ARGV[5]   text    'any', 'none', 'is': what the parent must be: whatever is the latest, nothing, or the latest; 'as': it is noted as given
-- ARGV[6]   text    the id of the parent, for 'is' and 'as'
-- ARGV[7]   0 or 1  whether the parent may be an older one, and the id smaller than the latest
-- ARGV[8]   number  fencing token, or ''
-- ARGV[9]   text    an owner's right, see parse_right in part/own.lua, or ''
-- ARGV[10]  ms      the owner's lease
-- ARGV[11]  text    metadata
-- ARGV[12]  bytes   a digest of the parts and the metadata
-- ARGV[13]  ms      expiry of the thread; 0: none
-- ARGV[14]  bytes   the largest size of the thread
-- ARGV[15]  count   the checkpoints to keep
-- ARGV[16]  ms      the age up to which checkpoints are kept; 0: any age
-- ARGV[17]  0 or 1  whether it needs its parent, which is kept as long
-- ARGV[18]  0 or 1  whether a version may be named whose value is not there
-- ARGV[19…]         for each part: name, version ('': the id), 1 where the value follows and 0 where not, value
--
-- Returns {'saved', info}; {'fenced', the largest fencing token}; {'conflict', the latest id or ''}; {'order', the latest id}: the id is not
-- greater; {'full', bytes that it would have}; {'missing', parts}: their versions are not there; {'other', parts}: their versions are there with
-- other values.
local scope, id, ask, mode, given, branch = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7] == '1'
local fence, right, lease, meta, digest = ARGV[8], ARGV[9], tonumber(ARGV[10]), ARGV[11], ARGV[12]
local ttl, most, last, age = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])
local needs, lenient = ARGV[17], ARGV[18] == '1'

-- Whether one id is greater than another, by their bytes.
local function is_greater(one, other)
  for at = 1, math.min(#one, #other) do
    local a, b = byte(one, at), byte(other, at)
    if a ~= b then
      return a > b
    end
  end
  return #one > #other
end

-- An id that is greater than all of the scope, also when the clock goes back, and behind an id of the caller that no time is greater than.
local function next_id(latest)
  local ms, count = now, 0
  local start, last_ms, last_count = match(latest or '', '^(.-)(%d%d%d%d%d%d%d%d%d%d%d%d%d)%-(%d%d%d%d%d%d)$')
  if last_ms and tonumber(last_ms) >= ms then
    ms, count = tonumber(last_ms), tonumber(last_count) + 1
    if count > 999999 then
      ms, count = ms + 1, 0
    end
  end
  local made = format('%s%013.0f-%06d', start or '', ms, count)
  if latest and not is_greater(made, latest) then
    return format('%s+%013.0f-%06d', latest, now, 0)
  end
  return made
end

local is_lost = right ~= '' and not intact
if is_lost and call('EXISTS', STATE) == 0 then
  own_again(parse_right(right), lease)
end
local refused = refusal(fence)
if refused then
  return refused
end

local function found(its_id)
  local text = intact and call('HGET', STATE, field('c', scope, its_id))
  return text and cmsgpack.unpack(text)
end

if ask ~= '' and intact then
  local before = call('HMGET', STATE, 'asked', 'answer')
  local record = before[1] == ask and found(before[2])
  if record then
    return { 'saved', info(scope, before[2], record) }
  end
end
local latest = latest_of(scope)
if id ~= '' then
  local record = found(id)
  if record then
    return record[5] == digest and { 'saved', info(scope, id, record) } or { 'conflict', latest }
  end
  -- It was there, and is not taken away completely.
  if intact and call('ZSCORE', ORDER, place('t', scope, id, 0)) then
    return { 'conflict', latest or '' }
  end
end

local parent = latest or ''
if mode == 'as' then
  parent = given
elseif mode == 'none' and latest then
  return { 'conflict', latest }
elseif mode == 'is' and given ~= latest and not is_lost then
  if not branch or not found(given) then
    return { 'conflict', latest or '' }
  end
  parent = given
end
if id == '' then
  id = next_id(latest)
end
local is_latest = not latest or is_greater(id, latest)
if not is_latest and not (branch and ARGV[3] ~= '') then
  return { 'order', latest }
end

local parts, missing, other, size = {}, {}, {}, 0
for at = 19, #ARGV, 4 do
  local name, version = ARGV[at], ARGV[at + 1] == '' and id or ARGV[at + 1]
  local value, is_given = 'v\0' .. scope .. '\0' .. name .. '\0' .. version, ARGV[at + 2] == '1'
  parts[#parts + 1], parts[#parts + 2] = name, version
  if not intact or call('HEXISTS', STATE, value) == 0 then
    if is_given then
      size = size + #ARGV[at + 3]
    elseif not lenient then
      missing[#missing + 1] = name
    end
  elseif is_given and call('HGET', STATE, value) ~= ARGV[at + 3] then
    other[#other + 1] = name
  end
end
if missing[1] then
  return { 'missing', missing }
elseif other[1] then
  return { 'other', other }
end
local seq = intact and number(call('HGET', STATE, 'seq')) + 1 or 1
local record = { parent, now, size, meta, digest, seq, 0, tonumber(needs), parts }
local text = cmsgpack.pack(record)
size = size + #text
local bytes = intact and number(call('HGET', STATE, 'bytes')) or 0
if bytes + size > most then
  return { 'full', whole(bytes + size) }
end

begin()
note_fence(fence)
for at = 19, #ARGV, 4 do
  local name, version = ARGV[at], ARGV[at + 1] == '' and id or ARGV[at + 1]
  local value = scope .. '\0' .. name .. '\0' .. version
  local is_named = call('HEXISTS', STATE, 'v\0' .. value) == 1 or call('HEXISTS', STATE, 'r\0' .. value) == 1
  if is_named then
    call('HINCRBY', STATE, 'r\0' .. value, 1)
  end
  if ARGV[at + 2] == '1' then
    call('HSETNX', STATE, 'v\0' .. value, ARGV[at + 3])
  elseif not is_named then
    call('HSET', STATE, 'r\0' .. value, '0')
  end
end
call('HSET', STATE, field('c', scope, id), text, 'seq', whole(seq))
call('HINCRBY', STATE, 'bytes', size)
call('ZADD', ORDER, 0, field('c', scope, id), 0, place('s', scope, id, seq))
if ask ~= '' then
  call('HSET', STATE, 'asked', ask, 'answer', id)
end
if needs == '1' and parent ~= '' then
  call('HINCRBY', STATE, field('n', scope, parent), 1)
end
if not is_latest then
  may_go(scope, id, record)
elseif latest then
  may_go(scope, latest, found(latest))
end
trim(last, age)
live_on(ttl)
redis.pcall('PUBLISH', NEWS, whole(seq))
return { 'saved', info(scope, id, record) }
