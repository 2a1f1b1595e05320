-- Removes a page of all jobs, in any state. Parents in other queues no longer wait for them.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  cursor of the page
-- ARGV[7]  count  of jobs in it, about
-- ARGV[8]  prefix of the keys of dedupe ids
--
-- Returns the cursor of the next page; 0 after the last.
local once_of = ARGV[8]
local page = call('HSCAN', jobs, ARGV[6], 'COUNT', ARGV[7])
local found, ids, keys = page[2], {}, {}
for i = 1, #found, 2 do
  local id, body = found[i], found[i + 1]
  local options, parent = read_options(body)
  ids[#ids + 1] = id
  if sub(call('HGET', run, id) or 'w', 1, 1) ~= 'c' then
    local elsewhere = {}
    for _, ending in ipairs(parents_of(id, read_parent(parent), 'r', '')) do
      -- Parents of this queue are removed as well.
      elsewhere[#elsewhere + 1] = ending.other_parent and ending
    end
    notify(elsewhere, 'r', '')
  end
  keys[#keys + 1] = later_parents_key(id)
  if type(options.group) == 'string' then
    keys[#keys + 1] = group_of .. options.group
  end
  if type(options.dedupe) == 'table' and type(options.dedupe.id) == 'string' then
    keys[#keys + 1] = once_of .. options.dedupe.id
  end
end
for from = 1, #keys, 4000 do
  call('UNLINK', unpack(keys, from, math.min(from + 3999, #keys)))
end
delete_jobs(ids)
return page[1]
