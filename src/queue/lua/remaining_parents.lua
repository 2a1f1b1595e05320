-- Gives a page of a job's parents an update, where the parents were too many for the script that made the update. The message that asks for
-- it is deleted after the last page.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  text  the message's field in the outbox
--
-- Returns { 1 where more pages are left, else 0; how many messages are left in the outbox }.
local field = ARGV[6]
local message = decode_object(call('HGET', outbox, field) or '')
for _, name in ipairs({ 'id', 'how', 'value', 'n', 'place', 'after' }) do
  if type(message[name]) ~= 'string' then
    call('HDEL', outbox, field)
    return { 0, 0 }
  end
end
set_listening(call('HGET', meta, 'heard'))
local key = kids_of .. message.place
local after = match(message.after, '^%(?%d+$') or '-inf'
local found = safe_call('ZRANGEBYSCORE', key, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
local parents = {}
for i = 1, #found, 2 do
  parents[#parents + 1] = read_parent(found[i])
end
notify(parents, message.how, message.value, whole(message.n) or 0)
local is_more = #found == 200
if is_more then
  message.after = '(' .. found[200]
  call('HSET', outbox, field, cjson.encode(message))
else
  call('HDEL', outbox, field)
  if sub(message.place, 1, 1) == '\4' then
    call('UNLINK', key)
  end
end
push_tail()
wake_workers(enqueued)
publish_events()
return { is_more and 1 or 0, messages_left }
