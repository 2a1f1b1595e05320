-- How many workers there are. Only sweeps and reads; asked again it does no harm.
--
-- Those that are due, and that nobody could judge, are looked at one by one, so many in one call.
--
-- ARGV[7]  count  the due ones that were looked at before
-- ARGV[8]  count  how many to look at now
--
-- Returns {all, beat in time, … and of these due all the same, … and of these flagged as degraded, late, … and of these due, crashed,
-- due ones looked at now, … and of these flagged, … and of these due for so long that their health is unknown}.
sweep(50)
local ids = call('ZRANGEBYSCORE', ALIVE, '-inf', now, 'WITHSCORES', 'LIMIT', ARGV[7], ARGV[8])
local looked, flagged, unknown = 0, 0, 0
for at = 1, #ids, 2 do
  looked = looked + 1
  local w = worker(ids[at])
  if w and is_flagged(w) then
    flagged = flagged + 1
  end
  if w and tonumber(ids[at + 1]) - w.late_ms + w.crash_ms <= now then
    unknown = unknown + 1
  end
end
return done({
  call('HLEN', STATE), call('ZCARD', ALIVE), call('ZCOUNT', ALIVE, '-inf', now), call('SCARD', DEGRADED),
  call('ZCARD', LATE), call('ZCOUNT', LATE, '-inf', now), call('ZCARD', CRASHED), looked, flagged, unknown,
})
