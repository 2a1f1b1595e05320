-- The server's time, and what every script calls by a short name: a local costs less than a look into a table.
local call, sub, match = redis.call, string.sub, string.match
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = string.format('%.0f', now)
