-- The list in which jobs wait that have neither a priority nor a group, and those who wait for jobs. Ids for the tail are collected and
-- pushed together by `line_up`.
local tail = {}
local entered = 0
local function line_up()
  for from = 1, #tail, 4000 do
    own('RPUSH', wait, unpack(tail, from, math.min(from + 3999, #tail)))
  end
  tail = {}
end
-- Wakes as many workers that wait for jobs, if there are.
local function wake(count)
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
    -- Nobody of this node heard: those who wait elsewhere, or after a crash, are asked too.
    found = call('ZPOPMAX', idle, 100)
    for i = 1, #found, 2 do
      call('PUBLISH', wake_of .. found[i], 'w')
    end
  end
end
