-- Puts dead letters of one group back into the topic's stream, for that group only: other groups pass over them.
--
-- KEYS[1]  stream   the topic
-- KEYS[2]  stream   dead letters of the group
-- KEYS[3]  number   how much was appended to the topic, see grow.lua
-- KEYS[4]  sorted set  the same up to some of its entries
-- ARGV[1]  text     the group
-- ARGV[2]  channel  wakes the topic's consumers
-- ARGV[3]  number   the most to put back, the oldest first, where no ids follow
-- ARGV[4]  id or -  the dead letter behind which it goes on, where no ids follow
-- ARGV[5]  id or +  the last one to look at, where no ids follow; +: the last that there is now
-- rest     ids      of dead letters
--
-- Returns {how many were put back, the one behind which to go on or '' where none is left, the last one to look at, then id and size in
-- bytes of each that is no dead letter: those stay where they are}.
local stream, dead, appended, sizes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, wake, most, after, upto = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- Lua's stack is bounded; one of ours has at most 1006.
local MOST_FIELDS = 2000

local put_back, strays = 0, {}

local function is_letter(fields)
  return #fields <= MOST_FIELDS and fields[1] == 'id' and fields[3] == 'attempts' and fields[5] == 'error'
end

local function put(letter)
  local id, fields = letter[1], letter[2]
  if not is_letter(fields) then
    local size = 0
    for _, text in ipairs(fields) do
      size = size + #text
    end
    strays[#strays + 1] = id
    strays[#strays + 1] = string.format('%.0f', size)
    return
  end
  local words = { '~group', group, '~attempts', fields[4], '~error', fields[6] }
  -- What an earlier redrive had put before the message's own fields is left out.
  local own = 7
  while fields[own] == '~group' or fields[own] == '~attempts' or fields[own] == '~error' do
    own = own + 2
  end
  for i = own, #fields do
    words[#words + 1] = fields[i]
  end
  local bytes = 0
  for _, text in ipairs(words) do
    bytes = bytes + #text
  end
  grow(appended, sizes, bytes, redis.call('XADD', stream, '*', unpack(words)))
  redis.call('XDEL', dead, id)
  put_back = put_back + 1
end

local goes_on = ''
if #ARGV > 5 then
  for i = 6, #ARGV do
    -- One by one: an id that stands here twice is found once.
    local letter = redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
    if letter then
      put(letter)
    end
  end
else
  if upto == '+' then
    local last = redis.call('XREVRANGE', dead, '+', '-', 'COUNT', 1)[1]
    upto = last and last[1] or '0-0'
  end
  local letters = redis.call('XRANGE', dead, after == '-' and '-' or '(' .. after, upto, 'COUNT', most)
  for _, letter in ipairs(letters) do
    put(letter)
  end
  if #letters == most then
    goes_on = letters[most][1]
  end
end
if put_back > 0 then
  -- They are back, whether or not this user may wake anyone; consumers look by themselves too.
  redis.pcall('PUBLISH', wake, '')
end
return { put_back, goes_on, upto, unpack(strays) }
