-- The start of every script of a thread: the keys, the server's time, and whether the thread has both of its keys. The key table is at
-- `Part` in src/keys/checkpoints.rs.
--
-- KEYS[1]  hash        state: see below
-- KEYS[2]  sorted set  order: every score is 0, so its members are ordered by their bytes
-- KEYS[3]  sorted set  due: owned threads of the share, by the end of their lease; '' without an end, where none is missing
-- KEYS[4]  sorted set  threads: threads of the share, by when they expire, or inf
-- KEYS[5]  sorted set  workers: worker, NUL, thread, for threads whose owner is a registered worker; every score is 0
-- KEYS[6]  channel     news: says that the thread has a new checkpoint, or is free
-- ARGV[1]  text        the thread
-- The arguments of the script itself start with ARGV[2].
--
-- Fields of the state, where NUL is a byte 0:
--   gen                             when the thread began; `order` has the member g<gen> if the two belong together
--   seq, bytes, ttl                 number of the last save; bytes that are there; its expiry in ms
--   asked, answer                   the last save of an owner: what it asked by, and the scope and id that it got
--   fence, own                      the largest fencing token seen; 1 where `acquire` made it
--   owner, ends, lease, run         who owns it; until when, ms of server time; for how long each time; of which mastership that is
--   worker, epoch, was, times       the owner's registration; who was interrupted before it; how often that was
--   crashed, status                 whether its end is certain, so that nobody is spared; done or failed
--   c NUL scope NUL id              a checkpoint, packed: parent, at, bytes, meta, digest, seq, pinned, needs, {part, version, …}
--   v NUL scope NUL part NUL version    a value; r … how many checkpoints name it besides the first; 0 where none gave it yet
--   n NUL scope NUL id              how many checkpoints need this one
--   w NUL scope NUL id NUL task NUL place   a pending write, packed: name, value
-- Members of the order: c…, w… as above; s<seq>NUL scope NUL id, every checkpoint as it was saved; t… the same, those that may be trimmed;
-- t0…NUL scope NUL id, one that is gone and has pending writes still.
local STATE, ORDER, DUE, THREADS, WORKERS, NEWS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local thread = ARGV[1]

local call, format, match, sub, byte = redis.call, string.format, string.match, string.sub, string.byte
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function whole(number)
  return format('%.0f', number)
end

local function number(text)
  return tonumber(text or nil) or 0
end

-- A thread that lost one of its keys has no checkpoints, because the ones that are left may lack values.
local gen = call('HGET', STATE, 'gen')
local intact = gen and call('ZSCORE', ORDER, 'g' .. gen) ~= false

local function field(letter, scope, rest)
  return letter .. '\0' .. scope .. '\0' .. rest
end

-- The greatest id of a scope, which is its latest checkpoint; nil for none.
local function latest_of(scope)
  if not intact then
    return nil
  end
  local found = call('ZREVRANGEBYLEX', ORDER, '(c\0' .. scope .. '\1', '[c\0' .. scope .. '\0', 'LIMIT', 0, 1)[1]
  return found and sub(found, #scope + 4)
end

-- The information on a checkpoint, without its values.
local function info(scope, id, record)
  return { scope, id, record[1], record[2], record[3], record[4], record[7] }
end
