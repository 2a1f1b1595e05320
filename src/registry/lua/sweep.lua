-- Sweeps, and repairs a part. A repeated call is harmless.
--
-- ARGV[7]  count  do at most this many
--
-- Returns {now, 1 when more is due}.
local more = sweep(tonumber(ARGV[7]))
start_repair_if_needed()
more = repair() or more
return done({ now, more and 1 or 0 })
