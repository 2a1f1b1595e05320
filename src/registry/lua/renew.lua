-- Renews a claim that has not lapsed, if its worker still has the same epoch. A repeated call is harmless.
--
-- ARGV[7]  text  the claim
-- ARGV[8]  ms    its lease, from now
--
-- Returns 1 when it was renewed, else 0.
local claim = ARGV[7]
sweep(10)
local fence, epoch, lease, id = parse_claim(call('HGET', CLAIMED, claim))
if not id then
  return done(0)
end
local w = worker(id)
if not w or w.epoch ~= epoch or w.crashed then
  free_claim(claim)
  return done(0)
end
if lease ~= ARGV[8] then
  call('HSET', CLAIMED, claim, table.concat({ fence, epoch, ARGV[8], id }, ' '))
end
call('ZADD', CLAIMS, integer(now + tonumber(ARGV[8])), claim)
return done(1)
