-- Stores a command for a worker; its next heartbeat takes it.
--
-- ARGV[7]   text   id
-- ARGV[8]   JSON   the command
-- ARGV[9]   count  at most this many may wait
-- ARGV[10]  epoch  of the registration that gets it, or '' for any
--
-- Returns 1; 0 when the worker is not registered, crashed, or of another epoch; -1 when too many commands wait.
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
if not w.has_commands then
  w.has_commands = true
  call('HSET', STATE, id, format(w))
end
return done(1)
