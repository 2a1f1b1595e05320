-- The keys of a registry, the authority of the caller, and the server's time: the start of every script of the registry. The types of the
-- keys are listed at `RegistryKeys` in src/keys.
--
-- KEYS[1..18]   keys, in the order below
-- KEYS[19..22]  prefixes of keys: a label's index, a process, a worker's commands, a batch of `reap`
-- KEYS[23..24]  channels: there are events; a registration has ended
-- ARGV[1]  ms of time   until when the caller may declare workers late or crashed; 0: not at all, the caller was cut off; 1: not at all, and
--                       the server's clock was set forward
-- ARGV[2]  text         '<share> <mastership>': the share of the fleet that must fall due together for a storm; the mastership, 40
--                       characters, of the server that answered the caller last
-- ARGV[3]  count        the number of workers that must fall due together for a storm
-- ARGV[4]  ms           a full lease: all workers get one after a restart, a failover, a change of the clock, and when a storm starts
-- ARGV[5]  ms           a heartbeat interval: in a storm a few workers may be declared crashed in each
-- ARGV[6]  ms           how long the caller's crashed workers stay listed
-- The keys of a script itself start at KEYS[25], its arguments at ARGV[7].
local STATE, DEFINITION, METADATA, LABELS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local ALIVE, LATE, CRASHED, DEGRADED = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local UNREAPED, CLAIMS, CLAIMED, META, EVENTS, EVERYONE = KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local STATUS = { idle = KEYS[15], busy = KEYS[16], paused = KEYS[17], draining = KEYS[18] }
local HAS, PROCESS, COMMANDS, REAPED, WAKE, DEATHS = KEYS[19], KEYS[20], KEYS[21], KEYS[22], KEYS[23], KEYS[24]

local match, find = string.match, string.find
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local may_declare_until, lease_ms = tonumber(ARGV[1]), tonumber(ARGV[4])

local function integer(number)
  return string.format('%.0f', number)
end

-- A number that a script wrote, up to 2^53; 0 for anything else.
local function number(text)
  local value = tonumber(text or 0)
  return value and value >= 0 and value <= 9007199254740991 and value or 0
end
