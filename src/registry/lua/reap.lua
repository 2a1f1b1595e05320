-- Sweeps, mends a part of what is to be mended, and hands out crashes that nobody was handed yet. Asked again with the same token it hands out the same.
--
-- ARGV[7]  text   token
-- ARGV[8]  count  at most this many
-- ARGV[9]  ms     for how long the same is handed out again; the caller deletes it when it has come
--
-- Returns {now, more is there, rows}.
local kept, most = REAPED .. ARGV[7], tonumber(ARGV[8])
local packed = call('LRANGE', kept, 0, -1)
local more = false
if #packed == 0 then
  more = sweep(most)
  packed = call('LPOP', UNREAPED, most) or {}
  if #packed > 0 then
    call('RPUSH', kept, unpack(packed))
    call('PEXPIRE', kept, ARGV[9])
  end
end
-- A row is seven texts.
local function is_row(row)
  for at = 1, 7 do
    if type(row) ~= 'table' or type(row[at]) ~= 'string' then
      return false
    end
  end
  return true
end

local out = {}
for _, text in ipairs(packed) do
  local is_packed, _, row = pcall(cmsgpack.unpack_one, text)
  if is_packed and is_row(row) then
    out[#out + 1] = row
  else
    note('crash', '')
  end
end
look_after()
more = mend() or more
return done({ now, (more or call('LLEN', UNREAPED) > 0) and 1 or 0, out })
