-- A checkpoint with its values and pending writes, or nil.
local function loaded(scope, id)
  local text = intact and call('HGET', STATE, field('c', scope, id))
  if not text then
    return nil
  end
  local record = cmsgpack.unpack(text)
  local parts, values = record[9], {}
  for at = 1, #parts, 2 do
    values[at] = parts[at]
    values[at + 1] = call('HGET', STATE, 'v\0' .. scope .. '\0' .. parts[at] .. '\0' .. parts[at + 1])
  end
  local pending, prefix = {}, field('w', scope, id) .. '\0'
  for _, member in ipairs(call('ZRANGEBYLEX', ORDER, '[' .. prefix, '(' .. sub(prefix, 1, -2) .. '\1')) do
    local write = cmsgpack.unpack(call('HGET', STATE, member))
    pending[#pending + 1] = match(sub(member, #prefix + 1), '^([^%z]*)')
    pending[#pending + 1] = write[1]
    pending[#pending + 1] = write[2]
  end
  return { info(scope, id, record), values, pending, parts }
end
