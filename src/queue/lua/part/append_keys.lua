-- The keys and prefixes of append.lua, which needs fewer than base.lua names.
local jobs, wait, idle, meta, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local wake_of, event_channel = ARGV[1], ARGV[2]
