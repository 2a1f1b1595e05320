-- Declares a worker's status.
--
-- ARGV[7]  text    id
-- ARGV[8]  epoch   of who says so, or '' for anyone
-- ARGV[9]  status
--
-- Returns 1, or 0 when it is not registered, crashed, or of another epoch.
sweep(10)
local id = ARGV[7]
local w = worker(id)
if not w or w.crashed or (ARGV[8] ~= '' and w.epoch ~= ARGV[8]) then
  return done(0)
end
local was = view(w)
w.status = ARGV[9]
return done(commit(id, w, was) and 1 or 0)
