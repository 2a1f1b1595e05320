-- Removes a job from the list or the set that its state keeps it in; not for active jobs. The record is nil where the job waits for its
-- first attempt.
local function remove_from_state(id, record)
  local state, _, priority, group = 'w', nil, '', ''
  if record then
    state, _, _, _, priority, group = match(record, STATE)
  end
  if state == 'w' then
    if call('ZREM', ranked, id) == 1 then
      return
    end
    if group == '' then
      -- A job without a record, or whose record names no group, may have been added with one.
      local body = call('HGET', jobs, id)
      local length = body and match(body, '^%d+ %d+ %d+ %d+ (%d+)\n')
      if length and tonumber(length) > 0 then
        group = sub(body, -tonumber(length))
      end
    end
    if group ~= '' then
      local key = group_of .. group
      if safe_call('ZREM', key, id) == 1 then
        count_up(meta, 'grouped', -1)
        if call('EXISTS', key) == 0 then
          call('LREM', ring, 0, group)
          call('SREM', blocked, group)
        end
      end
      return
    end
    leave_tombstone(id)
  elseif state == 'd' then
    call('ZREM', delayed, id)
  elseif state == 'k' then
    call('ZREM', parked, id)
  elseif state == 'c' then
    call('ZREM', completed, id)
  elseif state == 'f' then
    call('ZREM', failed, id)
  end
end
