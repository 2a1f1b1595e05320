-- Checkpoints in the order in which they were saved.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  text   the thread's beginning as it was told before, or ''
-- ARGV[3]  number of the save after which; where the thread has started again, all. '-': none, only how far it is
-- ARGV[4]  text   or after the save of this id in the scope ''. Where that is not there, all; '' for ARGV[3]
-- ARGV[5]  count  at most
--
-- Returns {beginning, number of the last save that is told, {info, …}}.
local known, after, id, most = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if not intact then
  return { '', 0, {} }
end
local seq = number(call('HGET', STATE, 'seq'))
if after == '-' and id == '' then
  return { gen, seq, {} }
end
local from = known == gen and tonumber(after) or 0
if id ~= '' then
  local text = call('HGET', STATE, field('c', '', id))
  from = text and cmsgpack.unpack(text)[6] or 0
end
local infos, told = {}, from
for _, member in ipairs(call('ZRANGEBYLEX', ORDER, '(s' .. format('%016.0f', from) .. '\1', '(t', 'LIMIT', 0, most)) do
  local number_of, scope, its_id = match(member, '^s(%d+)%z([^%z]*)%z(.*)$')
  infos[#infos + 1] = info(scope, its_id, cmsgpack.unpack(call('HGET', STATE, field('c', scope, its_id))))
  told = tonumber(number_of)
end
return { gen, told, infos }
