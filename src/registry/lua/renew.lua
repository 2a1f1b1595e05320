-- Renews a claim that has not lapsed on a worker that is still of the same epoch. Asked again it does no harm.
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
  free(claim)
  return done(0)
end
if lease ~= ARGV[8] then
  call('HSET', CLAIMED, claim, table.concat({ fence, epoch, ARGV[8], id }, ' '))
end
call('ZADD', CLAIMS, whole(now + tonumber(ARGV[8])), claim)
return done(1)
