-- Events: collected while somebody listens, written as one entry of the stream with the next whole number as its id, so
-- that a listener sees from the numbers whether it missed some.
local listening = false
local told = {}
local function tell(kind, id, payload)
  if listening then
    local n = #told
    told[n + 1] = kind .. id
    told[n + 2] = payload or ''
  end
end
local function hear(until_ms)
  listening = (tonumber(until_ms or nil) or 0) > now
end
local function publish()
  local from = 1
  while told[from] do
    local to = math.min(from + 1999, #told)
    local number = string.format('%.0f-0', count_up(meta, 'told', 1))
    local written = redis.pcall('XADD', events, 'MAXLEN', '~', 10000, number, unpack(told, from, to))
    if type(written) == 'table' then
      -- The number, or the stream, is damaged. Listeners learn from the token that they have missed some.
      call('UNLINK', events)
      call('HDEL', meta, 'born', 'told')
      mended()
      call('XADD', events, 'MAXLEN', '~', 10000, count_up(meta, 'told', 1) .. '-0', unpack(told, from, to))
    end
    from = to + 1
  end
  if from > 1 and call('HDEL', meta, 'asleep') == 1 then
    call('PUBLISH', told_channel, '')
  end
end
