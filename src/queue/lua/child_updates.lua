-- Gives parents of this queue updates of children in other queues. An update that is given twice, or after a later one, changes nothing.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  count  of updates; five arguments each: id of the parent, the parent's name for the child, the letter of the update and the result
--                 or the reason (see part/parents.lua), and the number of the update, which grows
--
-- Returns how many messages are left in the outbox.
set_listening(call('HGET', meta, 'heard'))
for at = 7, 2 + tonumber(ARGV[6]) * 5, 5 do
  local parent, name, update, value, number = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4]) or 0
  local ending, reason, own_update = update_parent(parent, name, update, value, number)
  if ending then
    job_ended(parent, ending, own_update, reason)
  end
end
push_tail()
wake_workers(enqueued)
publish_events()
return messages_left
