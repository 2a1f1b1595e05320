-- Deletes what is stored of jobs. Where a list or a set has their ids they stay in it: the caller removes them.
local function delete_jobs(ids)
  for from = 1, #ids, 1000 do
    local to = math.min(from + 999, #ids)
    local fields, keys = {}, {}
    for i = from, to do
      local n = #fields
      fields[n + 1] = 'p' .. ids[i]
      fields[n + 2] = 's' .. ids[i]
      keys[#keys + 1] = log_of .. ids[i]
      keys[#keys + 1] = kids_of .. ids[i]
    end
    call('HDEL', jobs, unpack(ids, from, to))
    call('HDEL', run, unpack(ids, from, to))
    call('HDEL', more, unpack(fields))
    call('UNLINK', unpack(keys))
  end
end
