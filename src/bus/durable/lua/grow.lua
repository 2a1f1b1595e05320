-- Bytes after which it is noted how far a topic has come.
local NOTED_EVERY = 65536

-- Counts what was appended to a topic's stream, in bytes of the names and values of its entries, up to and including `id`. `appended` is the
-- sum of all; about every 64 KiB `sizes` notes the sum up to an entry, as the score of its id: so that what is in front of the newest bytes is
-- found without reading a message.
local function grow(appended, sizes, bytes, id)
  local total = redis.pcall('INCRBY', appended, bytes)
  if type(total) == 'table' or total < bytes or total > 9007199254740991 then
    -- None of this package's: whoever wrote it must not stop the topic.
    redis.call('SET', appended, bytes)
    total = bytes
  end
  if total == bytes then
    -- Notes of an earlier sum.
    redis.call('DEL', sizes)
  end
  if total % NOTED_EVERY < bytes then
    local noted = redis.pcall('ZADD', sizes, string.format('%.0f', total), id)
    if type(noted) == 'table' then
      redis.call('DEL', sizes)
    end
  end
end
