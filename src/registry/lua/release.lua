-- Gives a claim back.
--
-- ARGV[7]  text  the claim
--
-- Returns 1, or 0 when it had lapsed, or its worker is of another epoch now.
local claim = ARGV[7]
sweep(10)
local _, epoch, _, id = parse_claim(call('HGET', CLAIMED, claim))
local held = 0
if id then
  local w = worker(id)
  held = w and w.epoch == epoch and not w.crashed and 1 or 0
  free(claim)
end
return done(held)
