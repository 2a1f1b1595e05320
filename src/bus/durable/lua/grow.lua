-- Bytes after which it is noted how far a topic has come.
local NOTED_EVERY = 65536

-- Counts what was appended to a topic's stream, in bytes of the names and values of its entries, up to and including `id`. In `sizes` are the
-- bytes that were ever appended, as the score of `~`, and now and then those up to an entry, as the score of its id: so that what is in front
-- of the newest bytes is found without reading a message.
local function grow(sizes, bytes, id)
  local total = redis.pcall('ZINCRBY', sizes, bytes, '~')
  if type(total) == 'table' or tonumber(total) > 9007199254740991 then
    -- None of this package's: whoever wrote it must not stop the topic.
    redis.call('DEL', sizes)
    total = redis.call('ZINCRBY', sizes, bytes, '~')
  end
  total = tonumber(total)
  if math.floor(total / NOTED_EVERY) > math.floor((total - bytes) / NOTED_EVERY) then
    redis.call('ZADD', sizes, string.format('%.0f', total), id)
  end
end
