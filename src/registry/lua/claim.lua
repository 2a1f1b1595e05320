-- Claims a slot of the least loaded worker that can be claimed and is in every index given. Asked again with the same claim it
-- gives the same answer.
--
-- KEYS[25…]  sorted sets  indices; none: all workers
-- ARGV[7]    text         the claim
-- ARGV[8]    ms           its lease
-- ARGV[9]    text         or '': only this worker, which a search has found
-- ARGV[10…]  labels       of the indices, in the same order
--
-- Returns {'claimed', token, now, row}; {'none'}; or {'search', place of the smallest index}: the first 256 of it are not in the
-- others, and it goes on.
local claim, lease, wanted = ARGV[7], tonumber(ARGV[8]), ARGV[9]
local known = call('HGET', CLAIMED, claim)
if known then
  local had, _, id = string.match(known, '^(%d+) (%d+) (.*)$')
  return { 'claimed', had, now, rows({ id })[1] }
end
sweep(100)

local function take(id)
  local w = parse(call('HGET', STATE, id))
  local was = view(w)
  w.claims = w.claims + 1
  w.turn = call('HINCRBY', META, 'turn', 1)
  commit(id, w, was)
  local fence = token('token')
  call('HSET', CLAIMED, claim, fence .. ' ' .. w.epoch .. ' ' .. id)
  call('ZADD', CLAIMS, whole(now + lease), claim)
  announce()
  return { 'claimed', fence, now, rows({ id })[1] }
end

local indices, smallest, size = { EVERYONE }, 1, nil
for at = 25, #KEYS do
  indices[at - 24] = KEYS[at]
  local count = call('ZCARD', KEYS[at])
  if not size or count < size then
    smallest, size = at - 24, count
  end
end

-- Is it in the other indices, and not late without anybody having swept?
local function fits(id)
  for at, key in ipairs(indices) do
    if at ~= smallest and not call('ZSCORE', key, id) then
      return false
    end
  end
  local late_at = call('ZSCORE', ALIVE, id)
  return late_at and tonumber(late_at) > now
end

if wanted ~= '' then
  local score = call('ZSCORE', indices[smallest], wanted)
  if score and tonumber(score) < math.huge and fits(wanted) then
    return take(wanted)
  end
  announce()
  return { 'none' }
end

-- With several labels: the best of the first of each class that has them all. Returns nothing where that would be many
-- classes, or many of one are late without anybody having been allowed to say so.
local function best_of_classes()
  local sets, fewest = {}, math.huge
  for at = 1, #indices do
    sets[at] = classes_with(ARGV[9 + at])
    fewest = math.min(fewest, call('SCARD', sets[at]))
  end
  local classes = fewest <= 512 and call('SINTER', unpack(sets))
  if not classes or #classes > 64 then
    return nil
  end
  local best, found = math.huge, false
  for _, class in ipairs(classes) do
    for from = 0, 16 do
      local first = call('ZRANGE', HAS .. class, from, from, 'WITHSCORES')
      local score = first[1] and tonumber(first[2]) or math.huge
      if score >= best then
        break
      end
      local late_at = call('ZSCORE', ALIVE, first[1])
      if late_at and tonumber(late_at) > now then
        best, found = score, first[1]
        break
      end
      if from == 16 then
        return nil
      end
    end
  end
  return found
end

if #indices > 1 then
  local found = best_of_classes()
  if found then
    return take(found)
  elseif found == false then
    announce()
    return { 'none' }
  end
end

local chunk, most = 16, 256
for from = 0, most - 1, chunk do
  local part = call('ZRANGE', indices[smallest], from, from + chunk - 1, 'WITHSCORES')
  for at = 1, #part, 2 do
    if tonumber(part[at + 1]) == math.huge then
      announce()
      return { 'none' }
    end
    if fits(part[at]) then
      return take(part[at])
    end
  end
  if #part < chunk * 2 then
    announce()
    return { 'none' }
  end
end
announce()
return { 'search', smallest }
