-- What is told of checkpoints, greatest id first.
--
-- KEYS[1..6], ARGV[1]: see part/base.lua
-- ARGV[2]  text   scope; of all scopes where ARGV[5] is 1
-- ARGV[3]  text   only those with a smaller id; '' for all. Of all scopes: the scope, NUL and the id
-- ARGV[4]  count  at most
-- ARGV[5]  0 or 1 whether of all scopes, by scope and id
--
-- Returns {info, …}.
local scope, before, most, all = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
if not intact then
  return {}
end
local prefix = all and 'c\0' or 'c\0' .. scope .. '\0'
local below = before == '' and sub(prefix, 1, -2) .. '\1' or prefix .. before
local infos = {}
for _, member in ipairs(call('ZREVRANGEBYLEX', ORDER, '(' .. below, '[' .. prefix, 'LIMIT', 0, most)) do
  local its_scope, id = match(member, '^c%z([^%z]*)%z(.*)$')
  infos[#infos + 1] = info(its_scope, id, cmsgpack.unpack(call('HGET', STATE, member)))
end
return infos
