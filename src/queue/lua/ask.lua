-- How it stands with jobs that are children of jobs of another queue, which is told by messages where it knows something else.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  count  of jobs; four arguments each: id, key of its dedupe id or nothing, JSON that names its parent, and 'p' pending or 'f' failed,
--                 as the parent knows it
--
-- Returns how many messages were left in the outbox.
for at = 7, 3 + tonumber(ARGV[6]) * 4, 4 do
  local id, once, wanted, known = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local body, record = call('HGET', jobs, id), call('HGET', run, id)
  local parent = { named(wanted) }
  if body then
    local state = sub(record or 'w', 1, 1)
    local _, own = parts_of(body)
    if state ~= 'c' and wanted ~= own then
      share(id, wanted)
    end
    if state == 'c' or state == 'f' then
      if state ~= known then
        pass_on(id, parent, state, match(record, '\n(.*)$') or '')
      end
    elseif known == 'f' then
      pass_on(id, parent, 'p', '')
    end
  else
    -- Another job may have been there in its place.
    local holder = once ~= '' and match(own('GET', once) or '', '^[^\n]+')
    if not (holder and own('ZSCORE', others_of(holder), wanted)) then
      pass_on(id, parent, 'F', 'it is gone, and how it ended is not known')
    end
  end
end
return mailed
