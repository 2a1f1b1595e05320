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
  listening = until_ms and tonumber(until_ms) > now
end
local function publish()
  local from = 1
  while told[from] do
    local to = math.min(from + 1999, #told)
    local number = call('HINCRBY', meta, 'told', 1)
    call('XADD', events, 'MAXLEN', '~', 10000, number .. '-0', unpack(told, from, to))
    from = to + 1
  end
  if from > 1 and call('HDEL', meta, 'asleep') == 1 then
    call('PUBLISH', told_channel, '')
  end
end
