-- Takes news of children that are jobs of other queues. Told twice it changes nothing.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  count  of news; four arguments each: id of the parent, the parent's name for the child, 'c' completed, 'f' failed or 'r' removed,
--                 and the result or the reason
--
-- Returns how many messages were left in the outbox.
hear(call('HGET', meta, 'heard'))
for at = 7, 3 + tonumber(ARGV[6]) * 4, 4 do
  pass_on('', { { p = { ARGV[at], ARGV[at + 1] } } }, ARGV[at + 2], ARGV[at + 3])
end
line_up()
wake(entered)
publish()
return mailed
