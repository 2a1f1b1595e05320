-- Events of jobs: collected while the queue has subscribers, and written as one entry of the stream. The id of an entry is the next whole
-- number, so that a gap in the numbers shows a subscriber that it missed some.
local listening = false
local collected = {}
-- The letter of each event, as `src/queue/events.rs` reads it.
local letter_of

-- `until_ms`: until when events are written, `heard` in `meta`.
local function set_listening(until_ms)
  listening = (tonumber(until_ms or nil) or 0) > now
  letter_of = listening and {
    added = 'a', active = 'x', progress = 'p', completed = 'c', failed = 'f', retrying = 'r', stalled = 's', removed = 'v', drained = 'z',
  }
end
local function emit(event, id, payload)
  if listening then
    local n = #collected
    collected[n + 1] = letter_of[event] .. id
    collected[n + 2] = payload or ''
  end
end
-- Writes the collected events, and wakes the subscribers that have read all others.
local function publish_events()
  local from = 1
  while collected[from] do
    local to = math.min(from + 1999, #collected)
    local number = string.format('%.0f-0', count_up(meta, 'told', 1))
    local written = redis.pcall('XADD', events, 'MAXLEN', '~', 10000, number, unpack(collected, from, to))
    if type(written) == 'table' then
      -- The number or the stream is damaged. The new token tells subscribers that they missed some.
      call('UNLINK', events)
      call('HDEL', meta, 'born', 'told')
      count_damage()
      call('XADD', events, 'MAXLEN', '~', 10000, count_up(meta, 'told', 1) .. '-0', unpack(collected, from, to))
    end
    from = to + 1
  end
  if from > 1 and call('HDEL', meta, 'asleep') == 1 then
    call('PUBLISH', event_channel, '')
  end
end
