-- Pins a checkpoint, so that it is not trimmed, or takes that back.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  text    scope
-- ARGV[3]  text    id
-- ARGV[4]  0 or 1  whether it is pinned
--
-- Returns 1, or 0 where there is no such checkpoint.
local scope, id, pinned = ARGV[2], ARGV[3], tonumber(ARGV[4])
local name = field('c', scope, id)
local text = intact and call('HGET', STATE, name)
if not text then
  return 0
end
local record = cmsgpack.unpack(text)
if record[7] ~= pinned then
  record[7] = pinned
  call('HSET', STATE, name, cmsgpack.pack(record))
  if pinned == 1 then
    call('ZREM', ORDER, place('t', scope, id, record[6]))
  elseif id ~= latest_of(scope) then
    may_go(scope, id, record)
  end
end
return 1
