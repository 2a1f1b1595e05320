-- Checks jobs that are children of jobs of another queue. Where a parent knows another state than the job is in, it gets an update by message.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  count  of jobs; four arguments each: id, key of its dedupe id or nothing, JSON that names its parent, and 'p' pending or 'f' failed, as the
--                 parent knows it
--
-- Returns how many messages are left in the outbox.
for at = 7, 3 + tonumber(ARGV[6]) * 4, 4 do
  local id, dedupe_key, parent_json, known = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local body, record = call('HGET', jobs, id), call('HGET', run, id)
  local parents = { read_parent(parent_json) }
  if body then
    local state = sub(record or 'w', 1, 1)
    local _, first_parent = split_body(body)
    if state ~= 'c' and parent_json ~= first_parent then
      add_parent(id, parent_json)
    end
    if state == 'c' or state == 'f' then
      if state ~= known then
        notify(parents, state, match(record, '\n(.*)$') or '')
      end
    elseif known == 'f' then
      notify(parents, 'p', '')
    end
  else
    -- The job that held its dedupe id may be the child in its place.
    local holder = dedupe_key ~= '' and match(safe_call('GET', dedupe_key) or '', '^[^\n]+')
    if not (holder and safe_call('ZSCORE', later_parents_key(holder), parent_json)) then
      notify(parents, 'F', 'it is gone, and how it ended is not known')
    end
  end
end
return messages_left
