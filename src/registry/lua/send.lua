-- Leaves a command for a worker, to be taken with its next heartbeat.
--
-- ARGV[7]   text   id
-- ARGV[8]   JSON   the command
-- ARGV[9]   count  at most this many may wait
-- ARGV[10]  epoch  of the registration that is meant, or '' for the present one
--
-- Returns 1; 0 when it is not registered, crashed, or of another epoch; -1 when too many wait.
sweep(10)
local id = ARGV[7]
local w = worker(id)
if not w or w.crashed or (ARGV[10] ~= '' and w.epoch ~= ARGV[10]) then
  return done(0)
end
if call('LLEN', COMMANDS .. id) >= tonumber(ARGV[9]) then
  return done(-1)
end
call('RPUSH', COMMANDS .. id, token('commands') .. ' ' .. ARGV[8])
if not w.mail then
  w.mail = true
  call('HSET', STATE, id, format(w))
end
return done(1)
