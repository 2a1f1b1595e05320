-- One part of a search through a large index for the least loaded worker that can be claimed and is in all other indices. Reads
-- only.
--
-- KEYS[25…]  sorted sets  the indices, the smallest first; none: all workers
-- ARGV[7]    cursor       0 for the first part; 0 comes back with the last
--
-- Returns {cursor}, or {cursor, score, worker} with the best worker of this part.
local first = KEYS[25] or EVERYONE
local step = call('ZSCAN', first, ARGV[7], 'COUNT', math.max(16, math.floor(1024 / math.max(1, #KEYS - 24))))
local best, id
for at = 1, #step[2], 2 do
  local score = tonumber(step[2][at + 1])
  if score < (best or math.huge) then
    local fits = true
    for other = 26, #KEYS do
      fits = fits and call('ZSCORE', KEYS[other], step[2][at])
    end
    local late_at = fits and call('ZSCORE', ALIVE, step[2][at])
    if late_at and tonumber(late_at) > now then
      best, id = score, step[2][at]
    end
  end
end
if id then
  return done({ step[1], integer(best), id })
end
return done({ step[1] })
