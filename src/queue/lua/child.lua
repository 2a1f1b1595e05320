-- Takes news of children that are jobs of other queues. Told twice, or after later ones, they change nothing.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  count  of news; five arguments each: id of the parent, the parent's name for the child, the letter of the news and the result or the
--                 reason (see part/kin.lua), and the number of the news, which grows
--
-- Returns how many messages were left in the outbox.
hear(call('HGET', meta, 'heard'))
for at = 7, 2 + tonumber(ARGV[6]) * 5, 5 do
  local parent, how, value = ARGV[at], ARGV[at + 2], ARGV[at + 3]
  local above, reason, letter = tell_parent(parent, ARGV[at + 1], how, value, tonumber(ARGV[at + 4]) or 0)
  if above then
    ended(parent, above, letter, reason)
  end
end
line_up()
wake(entered)
publish()
return mailed
