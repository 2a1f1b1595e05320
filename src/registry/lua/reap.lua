-- Sweeps, and hands out crashes that nobody was handed yet. Asked again with the same token it hands out the same.
--
-- ARGV[7]  text   token
-- ARGV[8]  count  at most so many
-- ARGV[9]  ms     for how long the same is handed out again; the caller deletes it when it has come
--
-- Returns {now, more is there, rows}.
local kept, most = REAPED .. ARGV[7], tonumber(ARGV[8])
local packed = call('LRANGE', kept, 0, -1)
local more = false
if #packed == 0 then
  more = sweep(most)
  announce()
  packed = call('LPOP', UNREAPED, most) or {}
  if #packed > 0 then
    call('RPUSH', kept, unpack(packed))
    call('PEXPIRE', kept, ARGV[9])
  end
end
local out = {}
for at, text in ipairs(packed) do
  out[at] = cmsgpack.unpack(text)
end
return { now, (more or call('LLEN', UNREAPED) > 0) and 1 or 0, out }
