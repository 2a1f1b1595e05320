-- A worker: its state, its indices, and the rows that are returned of it.

-- The words of a state: epoch flags load status claims capacity turn late_ms crash_ms forget_ms process registered nonce last.
local STATE_WORDS = '^(%d+) ([-srlcm]+) (%d+%.?%d*) (%l+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%d+) (%S+) (%d+)$'

-- Flags of a state; `-` stands for none. STALLED: the event loop is stalled; REPORTED: the worker says that it is degraded.
local STALLED, REPORTED, IS_LATE, IS_CRASHED, HAS_COMMANDS = 's', 'r', 'l', 'c', 'm'
-- First letters of labels.
local TYPE, CAPABILITY, CLASS = 't', 'c', '='

-- Parses a state; nothing for any other text.
local function parse(text)
  if #text > 512 then
    return nil
  end
  local epoch, flag, load, status, claims, capacity, turn, late_ms, crash_ms, forget_ms, process, registered, nonce, last =
    match(text, STATE_WORDS)
  if not epoch or not STATUS[status] or #epoch > 16 or #registered > 16 or #last > 16 or #load > 17 then
    return nil
  end
  local w = {
    epoch = epoch, load = load, status = status, claims = tonumber(claims), capacity = tonumber(capacity), turn = tonumber(turn),
    late_ms = tonumber(late_ms), crash_ms = tonumber(crash_ms), forget_ms = tonumber(forget_ms),
    process = process, registered = registered, nonce = nonce, last = last,
  }
  if math.max(tonumber(epoch), w.claims, w.capacity, w.turn, w.late_ms, w.crash_ms, w.forget_ms) > 9007199254740991 then
    return nil
  end
  if flag ~= '-' then
    w.stalled, w.reported = find(flag, STALLED, 1, true) ~= nil, find(flag, REPORTED, 1, true) ~= nil
    w.late, w.crashed = find(flag, IS_LATE, 1, true) ~= nil, find(flag, IS_CRASHED, 1, true) ~= nil
    w.has_commands = find(flag, HAS_COMMANDS, 1, true) ~= nil
  end
  return w
end

local function flags(w)
  local text = (w.stalled and STALLED or '') .. (w.reported and REPORTED or '') .. (w.late and IS_LATE or '')
    .. (w.crashed and IS_CRASHED or '') .. (w.has_commands and HAS_COMMANDS or '')
  return text == '' and '-' or text
end

local function format(w)
  return table.concat({
    w.epoch, flags(w), w.load, w.status, integer(w.claims), integer(w.capacity), integer(w.turn), integer(w.late_ms),
    integer(w.crash_ms), integer(w.forget_ms), w.process, w.registered, w.nonce, w.last,
  }, ' ')
end

-- Is `w` the registration of this reference? A reference is an epoch, a space, and the nonce of another registration that counts
-- as the same; either may be ''.
local function is_registration(w, reference)
  local epoch, nonce = match(reference, '^(%d*) (.*)$')
  return w.epoch == epoch or w.nonce == nonce
end

local function reason(w)
  return w.late and 'late' or w.stalled and 'event-loop-stalled' or w.reported and 'reported' or nil
end

-- The rank of a worker among those that can be claimed: by load, then by how long ago it was claimed. The rank fits a double: 20
-- bits of load, 32 of turns.
local function rank(w)
  local open = w.status == 'idle' or w.status == 'busy'
  if w.crashed or reason(w) or not open or w.claims >= w.capacity then
    return '+inf'
  end
  local pressure = math.min(w.claims / w.capacity + tonumber(w.load), 255)
  return integer(math.floor(pressure * 4096) * 4294967296 + w.turn % 4294967296)
end

-- Is the worker in `degraded`? That set counts workers that are in `alive`.
local function is_flagged(w)
  return (w.stalled or w.reported) and not w.late and not w.crashed or false
end

local function snapshot(w)
  return { rank = rank(w), reason = reason(w), flagged = is_flagged(w), status = w.status }
end

-- The labels of a worker: TYPE and its type, CAPABILITY and each capability, and last CLASS and its class. Workers with the same
-- type and capabilities are of one class, so that a search by several labels looks at a few classes instead of many workers.
-- Nothing where the labels cannot be read.
local function labels_of(id)
  local text = call('HGET', LABELS, id)
  if not text or #text > 1000000 then
    return nil
  end
  local is_json, labels = pcall(cjson.decode, text)
  if not is_json or type(labels) ~= 'table' or #labels < 2 then
    return nil
  end
  for _, label in ipairs(labels) do
    if type(label) ~= 'string' or not match(label, '^[' .. TYPE .. CAPABILITY .. CLASS .. ']') then
      return nil
    end
  end
  return labels
end

-- The key of the set of classes that have a label.
local function classes_with(label)
  return HAS .. '/' .. label
end

local function index(id, score, labels)
  call('ZADD', EVERYONE, score, id)
  for _, label in ipairs(labels) do
    call('ZADD', HAS .. label, score, id)
  end
end

-- Removes a worker from all keys.
local function remove(id)
  local labels = labels_of(id) or {}
  for _, label in ipairs(labels) do
    call('ZREM', HAS .. label, id)
  end
  local class = labels[#labels]
  if class and call('EXISTS', HAS .. class) == 0 then
    for at = 1, #labels - 1 do
      call('SREM', classes_with(labels[at]), class)
    end
  end
  for _, key in ipairs({ EVERYONE, ALIVE, LATE, CRASHED }) do
    call('ZREM', key, id)
  end
  for _, key in ipairs({ STATE, DEFINITION, METADATA, LABELS }) do
    call('HDEL', key, id)
  end
  for _, key in pairs(STATUS) do
    call('SREM', key, id)
  end
  call('SREM', DEGRADED, id)
  call('DEL', COMMANDS .. id)
end

-- Removes a worker whose record is damaged in `part`. Its holder learns that with its next heartbeat, and registers it again.
local function discard(id, part)
  note_damage(part, id)
  remove(id)
end

-- A worker, from its state where the caller has it; nothing where it is not registered, or its state is damaged.
local function worker(id, text)
  text = text or call('HGET', STATE, id)
  if not text then
    return nil
  end
  local w = parse(text)
  if not w then
    discard(id, 'state')
  end
  return w
end

-- Removes an id from an index that should not have it.
local function remove_stray(command, key, id)
  if call(command, key, id) == 1 then
    note_damage('index', id)
  end
end

-- Appends an event. Metadata of more than 4 KiB are left out.
local function emit(kind, id, w, last)
  local metadata = call('HGET', METADATA, id) or '{}'
  if #metadata > 4096 then
    metadata = ''
  end
  last_event = call('XADD', EVENTS, 'MAXLEN', '~', '10000', '*', 'n', integer(call('HINCRBY', META, 'events', 1)), 'kind', kind,
    'id', id, 'state', format(w), 'definition', call('HGET', DEFINITION, id) or '', 'metadata', metadata, 'last', last)
end

-- The time of the last heartbeat of a worker that is not crashed.
local function last_beat(id, w)
  local alive = call('ZSCORE', ALIVE, id)
  if alive then
    return integer(number(tonumber(alive) - w.late_ms))
  end
  local late = call('ZSCORE', LATE, id)
  return late and integer(number(tonumber(late) - w.crash_ms)) or w.last
end

-- Writes a changed worker; `was` is its snapshot from before. Returns whether the worker is still there: it is not if its labels
-- are damaged.
local function commit(id, w, was, last)
  call('HSET', STATE, id, format(w))
  local score = rank(w)
  if score ~= was.rank then
    local labels = labels_of(id)
    if not labels then
      discard(id, 'labels')
      return false
    end
    index(id, score, labels)
  end
  local flagged = is_flagged(w)
  if flagged ~= was.flagged then
    call(flagged and 'SADD' or 'SREM', DEGRADED, id)
  end
  if w.status ~= was.status then
    call('SREM', STATUS[was.status], id)
    call('SADD', STATUS[w.status], id)
    emit('status', id, w, last or last_beat(id, w))
  end
  local why = reason(w)
  if why ~= was.reason and not w.crashed then
    emit(why and 'degraded' or 'recovered', id, w, last or last_beat(id, w))
  end
  return true
end

-- A text to return; '', which is read as damaged, where it is longer than any text that the registry writes.
local function bounded(text, most)
  return text and (#text <= most and text or '')
end

-- Rows of workers: {id, state, definition, metadata, alive, late, process} each; alive and late are scores or ''. Calls `miss`,
-- if it is given, with each id that is not registered.
local function rows(ids, miss)
  if #ids == 0 then
    return {}
  end
  local states, definitions = call('HMGET', STATE, unpack(ids)), call('HMGET', DEFINITION, unpack(ids))
  local metadata = call('HMGET', METADATA, unpack(ids))
  local alive, late = call('ZMSCORE', ALIVE, unpack(ids)), call('ZMSCORE', LATE, unpack(ids))
  local processes, out = {}, {}
  for i, id in ipairs(ids) do
    local w = states[i] and worker(id, states[i])
    if w then
      local process = w.process
      if processes[process] == nil then
        processes[process] = bounded(call('GET', PROCESS .. process), 256) or ''
      end
      out[#out + 1] = {
        id, states[i], bounded(definitions[i], 1000000) or '', bounded(metadata[i], 65536) or '{}', alive[i] or '', late[i] or '',
        processes[process],
      }
    elseif miss and not states[i] then
      miss(id)
    end
  end
  return out
end
