-- The sizes of indices, so that a walk can start with the smallest. Reads only.
--
-- KEYS[25…]  indices
-- ARGV[7]    letters  the kind of each index: SORTED_SET, or s for a set
--
-- Returns the sizes.
local SORTED_SET = 'z'
local sizes = {}
for at = 1, #ARGV[7] do
  sizes[at] = call(string.sub(ARGV[7], at, at) == SORTED_SET and 'ZCARD' or 'SCARD', KEYS[24 + at])
end
return done(sizes)
