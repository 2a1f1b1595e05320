-- Adds what a task of a step has written, for a checkpoint that need not be there yet. What is there stays, unless it is to be replaced.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  text    scope
-- ARGV[3]  text    id of the checkpoint
-- ARGV[4]  text    task
-- ARGV[5]  number  fencing token, or ''
-- ARGV[6]  ms      expiry of the thread; 0: none
-- ARGV[7]  bytes   that the thread may have
-- ARGV[8…]         for each write: its place among those of the task in 8 digits, 1 to replace or 0, name, value
--
-- Returns {'saved'}, {'fenced', the largest fencing token} or {'full', bytes that it would have}.
local scope, id, task, fence, ttl, most = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local refused = refusal(fence)
if refused then
  return refused
end
local prefix, size, writes = field('w', scope, id) .. '\0' .. task .. '\0', 0, {}
for at = 8, #ARGV, 4 do
  local member = prefix .. ARGV[at]
  local there = intact and call('HSTRLEN', STATE, member) or 0
  if there == 0 or ARGV[at + 1] == '1' then
    local text = cmsgpack.pack({ ARGV[at + 2], ARGV[at + 3] })
    size = size + #text - there
    writes[#writes + 1] = { member, text }
  end
end
local bytes = (intact and number(call('HGET', STATE, 'bytes')) or 0) + size
if size > 0 and bytes > most then
  return { 'full', whole(bytes) }
end
begin()
note_fence(fence)
for _, write in ipairs(writes) do
  call('HSET', STATE, write[1], write[2])
  call('ZADD', ORDER, 0, write[1])
end
call('HINCRBY', STATE, 'bytes', size)
live_on(ttl)
return { 'saved' }
