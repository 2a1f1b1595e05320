-- Updates a job's data or progress, or appends a line to its log.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  text   'data', 'progress' or 'log'
-- ARGV[7]  id     of the job
-- ARGV[8]  text   the fence: what its record must start with, where its worker updates it under a lease; else nothing
-- ARGV[9]  text   the data, the progress or the line
-- ARGV[10] count  of log lines that are kept
--
-- Returns how many log lines there are, or 0; -1 where there is no such job, -2 where the lease is no longer the job's.
local verb, id, fence, value = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

local body = call('HGET', jobs, id)
if not body then
  return -1
end
if fence ~= '' then
  local record = call('HGET', run, id)
  if not record or sub(record, 1, #fence) ~= fence then
    return -2
  end
end
if verb == 'data' then
  local head, name, options, parent, group = match(body, '^(%d+ (%d+) (%d+) (%d+) (%d+)\n)')
  if not head then
    return redis.error_reply('DAMAGED the stored job is damaged')
  end
  local before = #head + tonumber(name) + tonumber(options) + tonumber(parent)
  local after = tonumber(group) > 0 and sub(body, -tonumber(group)) or ''
  call('HSET', jobs, id, sub(body, 1, before) .. value .. after)
  return 0
end
if verb == 'progress' then
  set_listening(call('HGET', meta, 'heard'))
  call('HSET', more, 'p' .. id, value)
  emit('progress', id, value)
  publish_events()
  return 0
end
local lines = safe_call('RPUSH', log_of .. id, value)
local most = tonumber(ARGV[10])
if lines > most then
  call('LTRIM', log_of .. id, -most, -1)
  lines = most
end
return lines
