-- Writes what is noted of a job: its data, its progress, a line of its log.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  text   'data', 'progress' or 'log'
-- ARGV[7]  id     of the job
-- ARGV[8]  text   how its record must begin, where a worker notes something under its lease; else nothing
-- ARGV[9]  text   what is noted
-- ARGV[10] count  of log lines that are kept
--
-- Returns how many log lines there are, or 0; -1 where there is no such job, -2 where the lease is not the job's any more.
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
  hear(call('HGET', meta, 'heard'))
  call('HSET', more, 'p' .. id, value)
  tell('p', id, value)
  publish()
  return 0
end
local lines = own('RPUSH', log_of .. id, value)
local most = tonumber(ARGV[10])
if lines > most then
  call('LTRIM', log_of .. id, -most, -1)
  lines = most
end
return lines
