-- The list of waiting jobs without a priority and without a group, and the workers that wait for jobs. Ids for the tail are collected,
-- and pushed together by `push_tail`.
local tail = {}
-- How many jobs this script has enqueued.
local enqueued = 0
local function push_tail()
  for from = 1, #tail, 4000 do
    safe_call('RPUSH', wait, unpack(tail, from, math.min(from + 3999, #tail)))
  end
  tail = {}
end
-- Wakes up to `count` of the workers that wait for jobs, by the wake-up 'w'.
local function wake_workers(count)
  if count < 1 then
    return
  end
  local found = call('ZPOPMAX', idle, math.min(count, 100))
  local missing = 0
  for i = 1, #found, 2 do
    if tonumber(found[i + 1]) > now and call('PUBLISH', wake_of .. found[i], 'w') == 0 then
      missing = missing + 1
    end
  end
  if missing > 0 and missing * 2 == #found then
    -- No subscriber of this node received a wake-up: their workers have crashed, or are connected to another node. More are woken.
    found = call('ZPOPMAX', idle, 100)
    for i = 1, #found, 2 do
      call('PUBLISH', wake_of .. found[i], 'w')
    end
  end
end
