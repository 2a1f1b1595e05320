-- Leaves a command for a worker, to be taken with its next heartbeat.
--
-- ARGV[7]  text   id
-- ARGV[8]  JSON   the command
-- ARGV[9]  count  at most so many may wait
--
-- Returns 1; 0 when it is not registered or crashed; -1 when too many wait.
sweep(100)
announce()
local id = ARGV[7]
local text = call('HGET', STATE, id)
local w = text and parse(text)
if not w or w.crashed then
  return 0
end
if call('LLEN', COMMANDS .. id) >= tonumber(ARGV[9]) then
  return -1
end
call('RPUSH', COMMANDS .. id, call('HINCRBY', META, 'commands', 1) .. ' ' .. ARGV[8])
if not w.mail then
  w.mail = true
  call('HSET', STATE, id, format(w))
end
return 1
