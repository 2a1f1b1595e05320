-- A checkpoint with its values and pending writes.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  text  scope
-- ARGV[3]  text  id; '' is the latest
--
-- Returns nil, or {info, {part, value or nil, …}, {task, name, value, …}, {part, version, …}}.
local scope, id = ARGV[2], ARGV[3]
if id == '' then
  id = latest_of(scope)
end
return id and loaded(scope, id)
