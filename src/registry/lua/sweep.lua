-- Does what is due, and a part of what is to be mended. Asked again it does no harm.
--
-- ARGV[7]  count  at most this many
--
-- Returns {now, 1 when more is due}.
local more = sweep(tonumber(ARGV[7]))
look_after()
more = mend() or more
return done({ now, more and 1 or 0 })
