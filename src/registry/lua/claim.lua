-- Claims a slot of the least loaded worker that can be claimed and is in every given index. A repeated call with the same claim
-- returns the same.
--
-- KEYS[25…]  sorted sets  indices; none: all workers
-- ARGV[7]    text         the claim
-- ARGV[8]    ms           the lease of the claim
-- ARGV[9]    text         a worker that a search has found, or '' for any worker
-- ARGV[10…]  labels       of the indices, in the same order
--
-- Returns {'claimed', token, now, row}; {'none'}; or {'search', place of the smallest index} where its first workers are not in the other
-- indices, and the caller must search the whole index.
local claim, lease, wanted = ARGV[7], tonumber(ARGV[8]), ARGV[9]
local had, epoch, _, holder = parse_claim(call('HGET', CLAIMED, claim))
if holder then
  local w = worker(holder)
  if w and w.epoch == epoch and not w.crashed then
    return done({ 'claimed', had, now, rows({ holder })[1] })
  end
  free_claim(claim)
end
sweep(10)

local indices, smallest, size = { EVERYONE }, 1, nil
for at = 25, #KEYS do
  indices[at - 24] = KEYS[at]
  local count = call('ZCARD', KEYS[at])
  if not size or count < size then
    smallest, size = at - 24, count
  end
end

-- The answer for a worker that was found in the index `key`; nothing where the index was wrong, which is repaired here.
local function take(id, key)
  local w = worker(id)
  local was = w and snapshot(w)
  if not w or was.rank == '+inf' then
    remove_stray('ZREM', key, id)
    local labels = w and labels_of(id)
    if labels then
      index(id, was.rank, labels)
    elseif w then
      discard(id, 'labels')
    end
    return nil
  end
  w.claims = w.claims + 1
  w.turn = call('HINCRBY', META, 'turn', 1) % 4294967296
  if not commit(id, w, was) then
    return nil
  end
  local fence = token('token')
  call('HSET', CLAIMED, claim, table.concat({ fence, w.epoch, ARGV[8], id }, ' '))
  call('ZADD', CLAIMS, integer(now + lease), claim)
  return { 'claimed', fence, now, rows({ id })[1] }
end

-- Is the worker in the other indices, and not late?
local function fits(id)
  for at, key in ipairs(indices) do
    if at ~= smallest and not call('ZSCORE', key, id) then
      return false
    end
  end
  local late_at = call('ZSCORE', ALIVE, id)
  return late_at and tonumber(late_at) > now
end

-- The best worker by several labels: the best of the first workers of each class that has all labels. Returns the worker and its
-- index; false where there is none; nothing where there are too many classes, or too many first workers of one class are late and
-- not yet marked late.
local function best_of_classes()
  local sets, fewest = {}, math.huge
  for at = 1, #indices do
    sets[at] = classes_with(ARGV[9 + at])
    local count = call('SCARD', sets[at])
    if (count == 0) ~= (call('ZCARD', indices[at]) == 0) then
      call('HSET', META, 'mend', '1 0')
      return nil
    end
    fewest = math.min(fewest, count)
  end
  local classes = fewest <= 512 and call('SINTER', unpack(sets))
  if not classes or #classes > 64 then
    return nil
  end
  local best, found, place = math.huge, false, nil
  for _, class in ipairs(classes) do
    for from = 0, 16 do
      local first = call('ZRANGE', HAS .. class, from, from, 'WITHSCORES')
      local score = first[1] and tonumber(first[2]) or math.huge
      if score >= best then
        break
      end
      local late_at = call('ZSCORE', ALIVE, first[1])
      if late_at and tonumber(late_at) > now then
        best, found, place = score, first[1], HAS .. class
        break
      end
      if from == 16 then
        return nil
      end
    end
  end
  return found, place
end

-- The first worker of the smallest index that fits; false where there is none, nothing where more must be searched.
local function first_that_fits()
  local chunk, most = 16, math.max(16, math.min(256, math.floor(2048 / #indices)))
  for from = 0, most - 1, chunk do
    local part = call('ZRANGE', indices[smallest], from, from + chunk - 1, 'WITHSCORES')
    for at = 1, #part, 2 do
      if tonumber(part[at + 1]) == math.huge then
        return false
      end
      if fits(part[at]) then
        return part[at]
      end
    end
    if #part < chunk * 2 then
      return false
    end
  end
  return nil
end

-- The worker to claim, as `first_that_fits` returns it, and the index where it was found.
local function choose()
  if wanted ~= '' then
    local score = call('ZSCORE', indices[smallest], wanted)
    return score and tonumber(score) < math.huge and fits(wanted) and wanted, indices[smallest]
  end
  if #indices > 1 then
    local found, place = best_of_classes()
    if found ~= nil then
      return found, place
    end
  end
  return first_that_fits(), indices[smallest]
end

-- Tried again where an index was wrong: each attempt repairs it a little.
for _ = 1, 16 do
  local id, key = choose()
  local answer = id and take(id, key)
  if answer then
    return done(answer)
  end
  if id == nil then
    return done({ 'search', smallest })
  end
  if not id then
    break
  end
end
return done({ 'none' })
