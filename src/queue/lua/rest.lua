-- Tells a page of those that wait for a job the news of it, where they were too many for the script in which that came about. The message
-- that says so is deleted after the last page.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  text  the message's field in the outbox
--
-- Returns { 1 where more are to be told, else 0, messages left in the outbox }.
local field = ARGV[6]
local news = object(call('HGET', outbox, field) or '')
for _, name in ipairs({ 'id', 'how', 'value', 'n', 'place', 'after' }) do
  if type(news[name]) ~= 'string' then
    call('HDEL', outbox, field)
    return { 0, 0 }
  end
end
hear(call('HGET', meta, 'heard'))
local key = kids_of .. news.place
local after = match(news.after, '^%(?%d+$') or '-inf'
local found = own('ZRANGEBYSCORE', key, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 100)
local parents = {}
for i = 1, #found, 2 do
  parents[#parents + 1] = named(found[i])
end
pass_on(news.id, parents, news.how, news.value, whole(news.n) or 0)
local more = #found == 200
if more then
  news.after = '(' .. found[200]
  call('HSET', outbox, field, cjson.encode(news))
else
  call('HDEL', outbox, field)
  if sub(news.place, 1, 1) == '\4' then
    call('UNLINK', key)
  end
end
line_up()
wake(entered)
publish()
return { more and 1 or 0, mailed }
