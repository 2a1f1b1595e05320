-- Takes a job that is not active out of where its state keeps it. Its record is nil where it waits for its first attempt.
local function depart(id, record)
  local state, _, priority, group = 'w', nil, '', ''
  if record then
    state, _, _, _, priority, group = match(record, STATE)
  end
  if state == 'w' then
    if call('ZREM', ranked, id) == 1 then
      return
    end
    if group == '' then
      -- The record of a job that waits for its first attempt names no group: the job itself does.
      local body = call('HGET', jobs, id)
      local length = body and match(body, '^%d+ %d+ %d+ %d+ (%d+)\n')
      if length and tonumber(length) > 0 then
        group = sub(body, -tonumber(length))
      end
    end
    if group ~= '' then
      local key = group_of .. group
      if own('ZREM', key, id) == 1 then
        count_up(meta, 'grouped', -1)
        if call('EXISTS', key) == 0 then
          call('LREM', ring, 0, group)
          call('SREM', blocked, group)
        end
      end
      return
    end
    haunt(id)
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
