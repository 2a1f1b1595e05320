-- Recovers jobs of a worker whose lease has ended, or that is known to have crashed: they wait again, or fail.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- KEYS[18]  set    held: ids that the worker holds
-- KEYS[19]  hash   owners
-- ARGV[6]   token  its owner token
-- ARGV[7]   0 or 1 whether it is known to have crashed; then its lease need not have ended
-- ARGV[8]   count  of rules, as in step.lua
-- ARGV[9]   count  of outcomes, as in step.lua
--
-- Returns { 1, or 0 where the lease has not ended or was ended by another worker; how many messages are left in the outbox }.
local held = KEYS[18]
local owner, crashed, rules, outcomes = ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])

local ends = call('ZSCORE', leases, owner)
if not ends or crashed ~= '1' and tonumber(ends) > now then
  return { 0, 0 }
end
set_listening(call('HGET', meta, 'heard'))
if outcomes > 0 then
  has_shared_jobs()
  settle(10 + rules * 3, outcomes, held)
  for i = 0, rules - 1 do
    local at = 10 + i * 3
    trim(ARGV[at] == 'c' and completed or failed, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  end
  push_tail()
end
if call('EXISTS', held) == 0 then
  call('ZREM', leases, owner)
  call('ZREM', idle, owner)
  call('HDEL', KEYS[19], owner)
end
wake_workers(enqueued)
publish_events()
return { 1, messages_left }
