-- What every script of the registry begins with: its keys, the server's time, and commands that survive what others wrote. The key
-- table with every type is at `RegistryKeys` in src/keys.
--
-- KEYS[1..18]   keys, in the order below
-- KEYS[19..22]  beginnings of keys: a label's index, a process, a worker's commands, what a reap was handed
-- KEYS[23..24]  channels: there are events; a registration is over
-- ARGV[1]  ms of time   until when the caller may judge; 0: not at all, it was cut off itself; 1: it has noticed that the server's clock was set forward
-- ARGV[2]  text         '<share> <mastership>': a storm is when more than this part of the fleet falls due together, and what `mastership`
--                       gave when the caller asked last, 40 characters …
-- ARGV[3]  count        … and at least this many
-- ARGV[4]  ms           a full lease: what everyone gets after a restart, a failover, a clock that was set, or where a storm starts
-- ARGV[5]  ms           a heartbeat interval: in a storm some may be declared crashed once in each
-- ARGV[6]  ms           how long the caller's crashed workers stay listed
-- What a script takes itself begins with KEYS[25] and ARGV[7].
--
-- A script returns `done(value)`. That is the value, or {'damaged', {part, of what, …}, value} where records were found that no
-- script of the registry has written; they have been taken away.
local STATE, DEFINITION, METADATA, LABELS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ALIVE, LATE, CRASHED, DEGRADED = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local UNREAPED, CLAIMS, CLAIMED, META, EVENTS, EVERYONE = KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local STATUS = { idle = KEYS[15], busy = KEYS[16], paused = KEYS[17], draining = KEYS[18] }
local HAS, PROCESS, COMMANDS, REAPED, WAKE, DEATHS = KEYS[19], KEYS[20], KEYS[21], KEYS[22], KEYS[23], KEYS[24]

local match, find = string.match, string.find
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local judges_until, lease_ms = tonumber(ARGV[1]), tonumber(ARGV[4])

local function whole(number)
  return string.format('%.0f', number)
end

-- A number that a script wrote, up to 2^53; 0 for anything else.
local function number(text)
  local value = tonumber(text or 0)
  return value and value >= 0 and value <= 9007199254740991 and value or 0
end

-- What was found damaged: the part, and of what, in turn.
local damages

local function note(part, of)
  damages = damages or {}
  damages[#damages + 1] = part
  damages[#damages + 1] = string.sub(of, 1, 1024)
end

-- Executes a command. A key of another type was written by somebody else and is taken away, and so is a stream that takes no more
-- entries: the command finds the key empty, and the registry is mended from what it still has. A counter that is no number
-- starts anew.
local call
call = function(name, key, ...)
  local reply = redis.pcall(name, key, ...)
  local err = type(reply) == 'table' and reply.err
  if not err then
    return reply
  end
  if find(err, 'WRONGTYPE', 1, true) or find(err, 'exhausted the last possible ID', 1, true) then
    redis.call('UNLINK', key)
    note('key', key)
    call('HSET', META, 'mend', '1 0')
  elseif name == 'HINCRBY' then
    local field = ...
    redis.call('HSET', key, field, field == 'events' and '0' or whole(now_us))
    note('counter', field)
  end
  return redis.call(name, key, ...)
end

-- The next number of `counter`: it grows strictly, also over a flush, as long as the server's clock does not go back.
local function token(counter)
  local next = math.max(number(call('HGET', META, counter)) + 1, now_us)
  call('HSET', META, counter, whole(next))
  return whole(next)
end

-- The place in the stream of the last event that this script wrote.
local announced

-- Every script ends with it.
local function done(value)
  if announced then
    call('PUBLISH', WAKE, announced)
  end
  return damages and { 'damaged', damages, value } or value
end
