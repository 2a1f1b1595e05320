-- Removes a consumer from its group; its messages go back to the group at once.
--
-- KEYS, ARGV[1..4]  see group.lua
--
-- Returns 1, or 0 if it was not a member of the group.
if not redis.call('ZSCORE', consumers, me) then
  return 0
end
take_over(me, 'its consumer ended before it had finished')
store_key_queues()
if next_due() >= 0 then
  redis.call('PUBLISH', wake, '')
end
return 1
