-- How many workers there are, by health. Only sweeps and reads, so a repeated call is harmless.
--
-- Overdue workers, which no caller had the authority to mark late, are looked at one by one, a bounded number in each call.
--
-- ARGV[7]  count  overdue workers that earlier calls looked at
-- ARGV[8]  count  overdue workers to look at now
--
-- Returns {all, alive, overdue of these, flagged as degraded of these, late, due to crash of these, crashed, overdue workers looked at now,
-- flagged of these, of unknown health of these}.
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
