-- Gives away the jobs of a worker whose lease has ended, or that is known to have crashed.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- KEYS[18]  set    held: ids that the worker holds
-- KEYS[19]  hash   owners
-- ARGV[6]   token  its owner token
-- ARGV[7]   0 or 1 whether it is known to have crashed: its lease may go on then
-- ARGV[8]   count  of rules, as in turn.lua
-- ARGV[9]   count  of outcomes, as in turn.lua
--
-- Returns { 0 when its lease goes on or has been ended by another, else 1, messages left in the outbox }.
local held = KEYS[18]
local owner, crashed, rules, outcomes = ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])

local ends = call('ZSCORE', leases, owner)
if not ends or crashed ~= '1' and tonumber(ends) > now then
  return { 0, 0 }
end
hear(call('HGET', meta, 'heard'))
if outcomes > 0 then
  are_shared()
  settle(10 + rules * 3, outcomes, held)
  for i = 0, rules - 1 do
    local at = 10 + i * 3
    trim(ARGV[at] == 'c' and completed or failed, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  end
  line_up()
end
if call('EXISTS', held) == 0 then
  call('ZREM', leases, owner)
  call('ZREM', idle, owner)
  call('HDEL', KEYS[19], owner)
end
wake(entered)
publish()
return { 1, mailed }
