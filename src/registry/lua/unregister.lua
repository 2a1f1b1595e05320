-- Ends a registration.
--
-- ARGV[7]  text     id
-- ARGV[8]  text     its reference (see is_registration), or '' for any registration
-- ARGV[9]  0 or 1   1: abnormally, so the worker is declared crashed
--
-- Returns 1, or 0 when the worker is not registered, or is another registration. A crashed worker is removed, and 0 is returned.
local id = ARGV[7]
sweep(10)
local w = worker(id)
local ended = 0
if w and (ARGV[8] == '' or is_registration(w, ARGV[8])) then
  if w.crashed then
    if ARGV[9] == '0' then
      remove(id)
    end
  elseif ARGV[9] == '1' then
    crash(id)
    ended = 1
  else
    emit('left', id, w, last_beat(id, w))
    remove(id)
    ended = 1
  end
end
return done(ended)
