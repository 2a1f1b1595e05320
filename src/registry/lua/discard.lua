-- Removes a worker whose record a reader found damaged, unless it was registered again meanwhile.
--
-- ARGV[7]  text   id
-- ARGV[8]  epoch  the registration that was read
--
-- Returns 1, or 0 when the worker has another epoch.
local w = worker(ARGV[7])
if not w or w.epoch ~= ARGV[8] then
  return done(0)
end
remove(ARGV[7])
return done(1)
