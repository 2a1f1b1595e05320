-- Registers a worker under a new epoch. A repeated call with the same nonce returns the same.
--
-- ARGV[7]   text    id
-- ARGV[8]   text    nonce of this registration
-- ARGV[9]   text    '': replaces any holder of the id. Else only if the id is free, or held by this reference (see is_registration)
-- ARGV[10]  JSON    the inside of its definition
-- ARGV[11]  JSON    metadata
-- ARGV[12]  JSON    labels, an array; the last is the class
-- ARGV[13]  count   capacity
-- ARGV[14]  status
-- ARGV[15]  load
-- ARGV[16]  flags   `-`, STALLED and REPORTED
-- ARGV[17..19]  ms  from a heartbeat until it is late, from a heartbeat until it crashes, from a crash until it is removed
-- ARGV[20]  text    its process; ARGV[21] is what the process reports, ARGV[22] how long that is kept, in ms
--
-- Returns {now, row}, or {now} when another registration holds the id.
local id, nonce, only = ARGV[7], ARGV[8], ARGV[9]
sweep(10)
local known = worker(id)
if known and known.nonce == nonce and not known.crashed then
  return done({ now, rows({ id })[1] })
end
if known and not known.crashed and only ~= '' and not is_registration(known, only) then
  return done({ now })
end
if known then
  if not known.crashed then
    emit('left', id, known, last_beat(id, known))
    call('PUBLISH', DEATHS, SUPERSEDED_NOTICE .. ' ' .. known.epoch .. ' ' .. id)
  end
  remove(id)
else
  -- Keys that a damaged registration may have left.
  call('ZREM', LATE, id)
  call('ZREM', CRASHED, id)
  call('SREM', DEGRADED, id)
  call('DEL', COMMANDS .. id)
end
if call('HEXISTS', META, 'run') == 0 then
  note_mastership()
end
local labels = cjson.decode(ARGV[12])
local w = {
  epoch = token('epoch'), load = ARGV[15], status = ARGV[14], claims = 0, capacity = tonumber(ARGV[13]), turn = 0,
  stalled = find(ARGV[16], STALLED, 1, true) ~= nil, reported = find(ARGV[16], REPORTED, 1, true) ~= nil,
  late_ms = tonumber(ARGV[17]), crash_ms = tonumber(ARGV[18]), forget_ms = tonumber(ARGV[19]),
  process = ARGV[20], registered = integer(now), nonce = nonce, last = '0',
}
call('HSET', STATE, id, format(w))
call('HSET', DEFINITION, id, ARGV[10])
if ARGV[11] ~= '{}' then
  call('HSET', METADATA, id, ARGV[11])
end
call('HSET', LABELS, id, ARGV[12])
call('ZADD', ALIVE, integer(now + w.late_ms), id)
call('SADD', STATUS[w.status], id)
if is_flagged(w) then
  call('SADD', DEGRADED, id)
end
index(id, rank(w), labels)
for at = 1, #labels - 1 do
  call('SADD', classes_with(labels[at]), labels[#labels])
end
call('SET', PROCESS .. ARGV[20], ARGV[21], 'PX', ARGV[22])
emit('joined', id, w, integer(now))
return done({ now, rows({ id })[1] })
