-- How many workers there are. Only sweeps and reads; asked again it does no harm.
--
-- Returns {all, beat in time, … and of these due all the same, … and of these flagged as degraded, late, … and of these due, crashed}.
sweep(100)
announce()
return {
  call('HLEN', STATE), call('ZCARD', ALIVE), call('ZCOUNT', ALIVE, '-inf', now), call('SCARD', DEGRADED),
  call('ZCARD', LATE), call('ZCOUNT', LATE, '-inf', now), call('ZCARD', CRASHED),
}
