-- The keys of append.lua.
local jobs, wait, idle, meta, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local wake_of, told_channel = ARGV[1], ARGV[2]
