-- Puts dead letters of one group back into the topic's stream, for that group only: other groups pass over them.
--
-- KEYS[1]  stream   the topic
-- KEYS[2]  stream   dead letters of the group
-- ARGV[1]  text     the group
-- ARGV[2]  channel  wakes the topic's consumers
-- ARGV[3]  number   the most to put back, the oldest first, where no ids follow
-- rest     ids      of dead letters
--
-- Returns how many were put back.
local stream, dead = KEYS[1], KEYS[2]
local group, wake, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

local letters = {}
if #ARGV > 3 then
  for i = 4, #ARGV do
    letters[#letters + 1] = redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
  end
else
  letters = redis.call('XRANGE', dead, '-', '+', 'COUNT', most)
end
local put_back = 0
for _, letter in ipairs(letters) do
  local fields = letter[2]
  local words = { '~group', group, '~attempts', fields[4], '~error', fields[6] }
  -- What an earlier redrive had put before the message's own fields is left out.
  local own = 7
  while fields[own] == '~group' or fields[own] == '~attempts' or fields[own] == '~error' do
    own = own + 2
  end
  for i = own, #fields do
    words[#words + 1] = fields[i]
  end
  redis.call('XADD', stream, '*', unpack(words))
  redis.call('XDEL', dead, letter[1])
  put_back = put_back + 1
end
if put_back > 0 then
  -- They are back, whether or not this user may wake anyone; consumers look by themselves too.
  redis.pcall('PUBLISH', wake, '')
end
return put_back
