-- Renews a claim that has not lapsed on a worker that is still of the same epoch. Asked again it does no harm.
--
-- ARGV[7]  text  the claim
-- ARGV[8]  ms    its lease, from now
--
-- Returns 1 when it was renewed, else 0.
local claim = ARGV[7]
sweep(100)
announce()
local _, epoch, id = string.match(call('HGET', CLAIMED, claim) or '', '^(%d+) (%d+) (.*)$')
if not id then
  return 0
end
local text = call('HGET', STATE, id)
local w = text and parse(text)
if not w or w.epoch ~= epoch or w.crashed then
  free(claim)
  return 0
end
call('ZADD', CLAIMS, whole(now + tonumber(ARGV[8])), claim)
return 1
