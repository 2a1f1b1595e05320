-- Takes the oldest checkpoints away, 64 at most.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  count  that is kept
-- ARGV[3]  ms     for which they are kept; 0: any time
--
-- Returns {how many are gone, 1 where there may be more}.
if not intact then
  return { 0, 0 }
end
local gone, more = trim(tonumber(ARGV[2]), tonumber(ARGV[3]))
return { gone, more and 1 or 0 }
