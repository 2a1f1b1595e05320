-- The sum is noted about once in this many bytes.
local NOTED_EVERY = 65536

-- Counts the bytes that were appended to a topic's stream, names and values of fields, up to the entry `id`. `appended` is the
-- sum. About every 64 KiB `sizes` notes the sum up to an entry, as the score of its id, so that the entries before the newest
-- bytes are found without reading any.
local function count_appended(appended, sizes, bytes, id)
  local total = redis.pcall('INCRBY', appended, bytes)
  if type(total) == 'table' or total < bytes or total > 9007199254740991 then
    -- Not written by this package; it must not stop the topic.
    redis.call('SET', appended, bytes)
    total = bytes
  end
  if total == bytes then
    -- The notes belong to an earlier sum.
    redis.call('DEL', sizes)
  end
  if total % NOTED_EVERY < bytes then
    local noted = redis.pcall('ZADD', sizes, string.format('%.0f', total), id)
    if type(noted) == 'table' then
      redis.call('DEL', sizes)
    end
  end
end
