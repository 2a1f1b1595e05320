-- Sets the status of a worker.
--
-- ARGV[7]  text    id
-- ARGV[8]  epoch   of the registration, or '' for any
-- ARGV[9]  status
--
-- Returns 1, or 0 when the worker is not registered, crashed, or of another epoch.
sweep(10)
local id = ARGV[7]
local w = worker(id)
if not w or w.crashed or (ARGV[8] ~= '' and w.epoch ~= ARGV[8]) then
  return done(0)
end
local was = snapshot(w)
w.status = ARGV[9]
return done(commit(id, w, was) and 1 or 0)
