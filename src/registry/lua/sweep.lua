-- Does what is due. Asked again it does no harm.
--
-- ARGV[7]  count  at most so many of each kind
--
-- Returns {now, 1 when more is due}.
local more = sweep(tonumber(ARGV[7]))
announce()
return { now, more and 1 or 0 }
