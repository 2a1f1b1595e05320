-- Adds jobs at the tail. What is stored in `jobs` is collected here by `collect`, also for jobs that wait elsewhere, and written
-- together by `write_bodies`.
local bodies, size = {}, 0
local added_at = now_text .. ' '

local function collect(id, body)
  bodies[size + 1], bodies[size + 2] = id, added_at .. body
  size = size + 2
  if listening then
    local length, rest = match(body, '^(%d+)[^\n]*\n(.*)$')
    emit('added', id, cjson.encode({ name = sub(rest, 1, tonumber(length)) }))
  end
end

local function append(id, body)
  collect(id, body)
  enqueued = enqueued + 1
  tail[#tail + 1] = id
end

local function write_bodies()
  for from = 1, size, 4000 do
    call('HSET', jobs, unpack(bodies, from, math.min(from + 3999, size)))
  end
  bodies, size = {}, 0
  push_tail()
end
