-- Gives a claim back.
--
-- ARGV[7]  text  the claim
--
-- Returns 1, or 0 when the claim had lapsed, or its worker has another epoch now.
local claim = ARGV[7]
sweep(10)
local _, epoch, _, id = parse_claim(call('HGET', CLAIMED, claim))
local held = 0
if id then
  local w = worker(id)
  held = w and w.epoch == epoch and not w.crashed and 1 or 0
  free_claim(claim)
end
return done(held)
