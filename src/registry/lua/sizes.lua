-- The sizes of indices, so that a walk begins with the smallest. Reads.
--
-- KEYS[25…]  indices
-- ARGV[7]    letters  z or s for each of them: sorted set, set
--
-- Returns the sizes.
local sizes = {}
for at = 1, #ARGV[7] do
  sizes[at] = call(string.sub(ARGV[7], at, at) == 'z' and 'ZCARD' or 'SCARD', KEYS[24 + at])
end
return done(sizes)
