-- What every script of the registry begins with: its keys, the server's time, a worker's state, its place in the indices,
-- events, and the sweep. The key table with every type is at `RegistryKeys` in src/keys.
--
-- KEYS[1..18]   keys, in the order below
-- KEYS[19..22]  beginnings of keys: a label's index, a process, a worker's commands, what a reap was handed
-- KEYS[23..24]  channels: there are events; a registration is over
-- ARGV[1]  ms of time   until when the caller may judge; 0: not at all, it was cut off itself
-- ARGV[2]  share        a storm is when more than this part of the fleet falls due together …
-- ARGV[3]  count        … and at least so many
-- ARGV[4]  ms           a full lease: what everyone gets after a restart, a failover or the begin of a storm
-- ARGV[5]  ms           a heartbeat interval: in a storm some may be declared crashed once in each
-- ARGV[6]  ms           how long the caller's crashed workers stay listed
-- What a script takes itself begins with KEYS[25] and ARGV[7].
local STATE, DEFINITION, METADATA, LABELS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ALIVE, LATE, CRASHED, DEGRADED = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local UNREAPED, CLAIMS, CLAIMED, META, EVENTS, EVERYONE = KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local STATUS = { idle = KEYS[15], busy = KEYS[16], paused = KEYS[17], draining = KEYS[18] }
local HAS, PROCESS, COMMANDS, REAPED, WAKE, DEATHS = KEYS[19], KEYS[20], KEYS[21], KEYS[22], KEYS[23], KEYS[24]

local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local judges_until = tonumber(ARGV[1])
local announced

local function whole(number)
  return string.format('%.0f', number)
end

-- The next number of `counter`: it grows strictly, also over a flush, as long as the server's clock does not go back.
local function token(counter)
  local next = math.max(tonumber(call('HGET', META, counter) or 0) + 1, now_us)
  call('HSET', META, counter, whole(next))
  return whole(next)
end

-- A worker's state is words: epoch flags load status claims capacity turn late_ms crash_ms forget_ms process registered nonce last.
-- Flags are letters, or `-`: s its event loop is stalled, r it says that it is degraded, l late, c crashed, m has commands.
local function parse(text)
  local word = {}
  for part in string.gmatch(text, '%S+') do
    word[#word + 1] = part
  end
  local has = function(flag)
    return string.find(word[2], flag, 1, true) ~= nil
  end
  return {
    epoch = word[1], stalled = has('s'), reported = has('r'), late = has('l'), crashed = has('c'), mail = has('m'),
    load = word[3], status = word[4], claims = tonumber(word[5]), capacity = tonumber(word[6]), turn = tonumber(word[7]),
    late_ms = tonumber(word[8]), crash_ms = tonumber(word[9]), forget_ms = tonumber(word[10]),
    process = word[11], registered = word[12], nonce = word[13], last = word[14],
  }
end

local function flags(w)
  local text = (w.stalled and 's' or '') .. (w.reported and 'r' or '') .. (w.late and 'l' or '')
    .. (w.crashed and 'c' or '') .. (w.mail and 'm' or '')
  return text == '' and '-' or text
end

local function format(w)
  return table.concat({
    w.epoch, flags(w), w.load, w.status, whole(w.claims), whole(w.capacity), whole(w.turn), whole(w.late_ms),
    whole(w.crash_ms), whole(w.forget_ms), w.process, w.registered, w.nonce, w.last,
  }, ' ')
end

-- Is it the registration that `who` names? That is an epoch, a space, and the nonce of another one that will do; either may be ''.
local function is_of(w, who)
  local epoch, nonce = string.match(who, '^(%d*) (.*)$')
  return w.epoch == epoch or w.nonce == nonce
end

local function reason(w)
  return w.late and 'late' or w.stalled and 'event-loop-stalled' or w.reported and 'reported' or nil
end

-- Where a worker stands among those that can be claimed: by its load, then by who was claimed longest ago. In a double's 53
-- bits: 20 of load, 32 of turns.
local function rank(w)
  local open = w.status == 'idle' or w.status == 'busy'
  if w.crashed or reason(w) or not open or w.claims >= w.capacity then
    return '+inf'
  end
  local pressure = math.min(w.claims / w.capacity + tonumber(w.load), 255)
  return whole(math.floor(pressure * 4096) * 4294967296 + w.turn % 4294967296)
end

-- In `degraded`: counted among those that beat in time.
local function is_flagged(w)
  return (w.stalled or w.reported) and not w.late and not w.crashed
end

local function view(w)
  return { rank = rank(w), reason = reason(w), flagged = is_flagged(w), status = w.status }
end

-- A worker's labels: `t` and its type, `c` and a capability each, and last `=` and its class: workers with the same type and
-- capabilities are of one class, so that those who have several labels are found by few classes instead of among many workers.
local function labels_of(id)
  return cjson.decode(call('HGET', LABELS, id) or '[]')
end

local function index(id, score, labels)
  call('ZADD', EVERYONE, score, id)
  for _, label in ipairs(labels) do
    call('ZADD', HAS .. label, score, id)
  end
end

-- Adds to the events. Metadata beyond 4 KiB are not repeated in it.
local function emit(kind, id, w, last)
  local metadata = call('HGET', METADATA, id) or '{}'
  if #metadata > 4096 then
    metadata = ''
  end
  announced = call('XADD', EVENTS, 'MAXLEN', '~', '10000', '*', 'n', whole(call('HINCRBY', META, 'events', 1)), 'kind', kind,
    'id', id, 'state', format(w), 'definition', call('HGET', DEFINITION, id) or '', 'metadata', metadata, 'last', last)
end

-- Says that there are events. Every script that may emit ends with it.
local function announce()
  if announced then
    call('PUBLISH', WAKE, announced)
  end
end

-- When a worker that is not crashed beat last.
local function last_beat(id, w)
  local alive = call('ZSCORE', ALIVE, id)
  if alive then
    return whole(tonumber(alive) - w.late_ms)
  end
  local late = call('ZSCORE', LATE, id)
  return late and whole(tonumber(late) - w.crash_ms) or w.last
end

-- Writes what was changed of a worker; `was` is its view from before.
local function commit(id, w, was, last)
  call('HSET', STATE, id, format(w))
  local score = rank(w)
  if score ~= was.rank then
    index(id, score, labels_of(id))
  end
  local flagged = is_flagged(w)
  if flagged ~= was.flagged then
    call(flagged and 'SADD' or 'SREM', DEGRADED, id)
  end
  if w.status ~= was.status then
    call('SMOVE', STATUS[was.status], STATUS[w.status], id)
    emit('status', id, w, last or last_beat(id, w))
  end
  local why = reason(w)
  if why ~= was.reason and not w.crashed then
    emit(why and 'degraded' or 'recovered', id, w, last or last_beat(id, w))
  end
end

-- What is told of workers: {id, state, definition, metadata, alive, late, process} each; alive and late are scores or ''.
local function rows(ids)
  if #ids == 0 then
    return {}
  end
  local states, definitions = call('HMGET', STATE, unpack(ids)), call('HMGET', DEFINITION, unpack(ids))
  local metadata = call('HMGET', METADATA, unpack(ids))
  local alive, late = call('ZMSCORE', ALIVE, unpack(ids)), call('ZMSCORE', LATE, unpack(ids))
  local processes, out = {}, {}
  for i, id in ipairs(ids) do
    local state = states[i]
    if state then
      local process = string.match(state, '^' .. string.rep('%S+ ', 10) .. '(%S+)')
      if processes[process] == nil then
        processes[process] = call('GET', PROCESS .. process) or ''
      end
      out[#out + 1] = { id, state, definitions[i] or '', metadata[i] or '{}', alive[i] or '', late[i] or '', processes[process] }
    end
  end
  return out
end

-- The set of the classes that have a label.
local function classes_with(label)
  return HAS .. '/' .. label
end

-- Takes a worker out of everything.
local function remove(id, w)
  local labels = labels_of(id)
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
  call('SREM', STATUS[w.status], id)
  call('SREM', DEGRADED, id)
  call('DEL', COMMANDS .. id)
end

-- Declares a worker crashed, once: who takes it out of its deadline set is the one. Its claims are void with its epoch.
local function crash(id)
  local text = call('HGET', STATE, id)
  local w = text and parse(text)
  local last = w and last_beat(id, w)
  if call('ZREM', LATE, id) + call('ZREM', ALIVE, id) == 0 or not w then
    return
  end
  local was = view(w)
  w.crashed, w.mail, w.claims, w.last = true, false, 0, last
  call('ZADD', CRASHED, whole(now + w.forget_ms), id)
  call('DEL', COMMANDS .. id)
  commit(id, w, was, last)
  call('RPUSH', UNREAPED, cmsgpack.pack(rows({ id })[1]))
  call('LTRIM', UNREAPED, -10000, -1)
  emit('crashed', id, w, last)
  call('PUBLISH', DEATHS, 'c ' .. w.epoch .. ' ' .. id)
end

-- Gives a slot back whose claim is over.
local function free(claim)
  local text = call('HGET', CLAIMED, claim)
  call('HDEL', CLAIMED, claim)
  call('ZREM', CLAIMS, claim)
  local _, epoch, id = string.match(text or '', '^(%d+) (%d+) (.*)$')
  local state = id and call('HGET', STATE, id)
  local w = state and parse(state)
  if w and w.epoch == epoch and not w.crashed and w.claims > 0 then
    local was = view(w)
    w.claims = w.claims - 1
    commit(id, w, was)
  end
end

-- After a restart or a failover nobody could beat: everyone has a full lease from when it is noticed.
local function in_grace()
  local grace = tonumber(call('HGET', META, 'grace') or 0)
  if now < grace then
    return true
  end
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'unknown'
  local known = call('HGET', META, 'run')
  if known ~= run then
    call('HSET', META, 'run', run)
    if known then
      call('HSET', META, 'grace', whole(now + tonumber(ARGV[4])))
      return true
    end
  end
  return false
end

-- How many of `due` may be declared crashed now. Those that crashed within the last lease count too: a part of the
-- fleet that was cut off together falls due one after another.
local function allowance(due)
  local share, least, lease, step = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local recent = call('ZCOUNT', CRASHED, '(' .. whole(now + tonumber(ARGV[6]) - lease), '+inf')
  local live = call('ZCARD', ALIVE) + call('ZCARD', LATE)
  local together = due + recent
  if together < least or together <= share * (live + recent) then
    return due
  end
  local storm = call('HMGET', META, 'storm', 'stormy', 'next')
  local since, seen, next = tonumber(storm[1] or 0), tonumber(storm[2] or 0), tonumber(storm[3] or 0)
  call('HSET', META, 'stormy', whole(now))
  if now - seen > lease then
    call('HSET', META, 'storm', whole(now))
    return 0
  end
  if now < since + lease or now < next then
    return 0
  end
  call('HSET', META, 'next', whole(now + step))
  return math.max(least, math.ceil(live / 100))
end

-- Does what is due, up to `limit` of each: claims lapse, workers are late, crashed, forgotten. Returns whether more is due.
local function sweep(limit)
  local lapsed = call('ZRANGEBYSCORE', CLAIMS, '-inf', now, 'LIMIT', 0, limit)
  for _, claim in ipairs(lapsed) do
    free(claim)
  end
  local gone = call('ZRANGEBYSCORE', CRASHED, '-inf', now, 'LIMIT', 0, limit)
  for _, id in ipairs(gone) do
    local text = call('HGET', STATE, id)
    if text then
      remove(id, parse(text))
    else
      call('ZREM', CRASHED, id)
    end
  end
  local more = #lapsed == limit or #gone == limit
  if judges_until == 0 then
    return more
  end
  local late = call('ZRANGEBYSCORE', ALIVE, '-inf', now, 'LIMIT', 0, limit)
  if #late == 0 and #call('ZRANGEBYSCORE', LATE, '-inf', now, 'LIMIT', 0, 1) == 0 then
    return more
  end
  if in_grace() then
    return more
  end
  for _, id in ipairs(late) do
    local text = call('HGET', STATE, id)
    local w = text and parse(text)
    local last = w and last_beat(id, w)
    call('ZREM', ALIVE, id)
    if w then
      local was = view(w)
      w.late = true
      call('ZADD', LATE, whole(tonumber(last) + w.crash_ms), id)
      commit(id, w, was, last)
    end
  end
  -- How many are due together is known only when all that are late are among the late.
  if #late == limit then
    return true
  end
  local due = call('ZCOUNT', LATE, '-inf', now)
  if due == 0 then
    return more
  end
  local allowed = allowance(due)
  if allowed > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', LATE, '-inf', now, 'LIMIT', 0, math.min(allowed, limit))) do
      crash(id)
    end
  end
  return more or (allowed > limit and due > limit)
end

-- A call that was long on its way, to a server that stood still, brings a judgement that is none any more: nothing is done, and
-- the caller decides anew. It decides by its own clock how long the call took: the server's may have been set.
if judges_until > 0 and now > judges_until and (call('ZCOUNT', ALIVE, '-inf', now) > 0 or call('ZCOUNT', LATE, '-inf', now) > 0) then
  return redis.error_reply('STALE ' .. whole(now))
end
