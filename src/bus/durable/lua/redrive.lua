-- Puts dead letters of a group back into the topic's stream, for that group only: other groups skip them.
--
-- KEYS[1]  stream   the topic
-- KEYS[2]  stream   dead letters of the group
-- KEYS[3]  number   the bytes that were appended to the topic, see count_appended.lua
-- KEYS[4]  sorted set  the same sum, up to some of its entries
-- ARGV[1]  text     the group
-- ARGV[2]  channel  wakes the topic's consumers
-- ARGV[3]  number   without ids: the most to put back, the oldest first
-- ARGV[4]  id or -  without ids: the dead letter after which to start
-- ARGV[5]  id or +  without ids: the last dead letter to look at; +: the last one now
-- rest     ids      of dead letters
--
-- Returns {how many were put back, the dead letter after which to continue or '' after the last, the last dead letter to look at, then id and
-- size in bytes of each entry that is no dead letter; such entries stay}.
local stream, dead, appended, sizes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, wake, most, after, upto = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- Lua's stack is bounded; dead letters of this package have at most 1006 fields.
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
  -- Fields that an earlier redrive had added are left out.
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
  count_appended(appended, sizes, bytes, redis.call('XADD', stream, '*', unpack(words)))
  redis.call('XDEL', dead, id)
  put_back = put_back + 1
end

local goes_on = ''
if #ARGV > 5 then
  for i = 6, #ARGV do
    -- One by one, so that an id that is given twice is found once.
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
  -- The messages are back even if this user may not publish; consumers poll by themselves too.
  redis.pcall('PUBLISH', wake, '')
end
return { put_back, goes_on, upto, unpack(strays) }
