-- Sweeps, repairs a part, and returns crashes that no caller has got yet. A repeated call with the same token returns the same
-- crashes.
--
-- ARGV[7]  text   token
-- ARGV[8]  count  at most this many
-- ARGV[9]  ms     how long the same crashes are returned again; the caller deletes the list once it has them
--
-- Returns {now, 1 when there are more, rows}.
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
    note_damage('crash', '')
  end
end
start_repair_if_needed()
more = repair() or more
return done({ now, (more or call('LLEN', UNREAPED) > 0) and 1 or 0, out })
