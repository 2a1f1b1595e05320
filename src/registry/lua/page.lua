-- A page of the workers that are in every given index. A worker that stays in all of them is on at least one page. Only sweeps
-- and reads, so a repeated call is harmless.
--
-- KEYS[25]   set or sorted set  the index to walk; the rest are the other indices
-- ARGV[7]    letters            the kind of each index: SORTED_SET, or s for a set
-- ARGV[8]    cursor             0 for the first part; 0 comes back with the last
-- ARGV[9]    count              about how many to walk
--
-- Returns {now, cursor, id of the last event, rows}.
sweep(50)
local position = call('XREVRANGE', EVENTS, '+', '-', 'COUNT', 1)[1]
local SORTED_SET = 'z'
local kinds = ARGV[7]
local sorted = string.sub(kinds, 1, 1) == SORTED_SET
local step = call(sorted and 'ZSCAN' or 'SSCAN', KEYS[25], ARGV[8], 'COUNT', ARGV[9])
local ids = {}
for at = 1, #step[2], sorted and 2 or 1 do
  ids[#ids + 1] = step[2][at]
end
for other = 2, #kinds do
  if #ids > 0 then
    local is_sorted = string.sub(kinds, other, other) == SORTED_SET
    local found = call(is_sorted and 'ZMSCORE' or 'SMISMEMBER', KEYS[24 + other], unpack(ids))
    local kept = {}
    for at, id in ipairs(ids) do
      if found[at] and found[at] ~= 0 then
        kept[#kept + 1] = id
      end
    end
    ids = kept
  end
end
local found = rows(ids, function(id)
  remove_stray(sorted and 'ZREM' or 'SREM', KEYS[25], id)
end)
return done({ now, step[1], position and position[1] or '0-0', found })
