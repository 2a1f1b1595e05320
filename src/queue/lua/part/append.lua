-- Adds jobs at the tail, or anywhere: what is said of them is collected, and written together.
local bodies, size = {}, 0
local before = now_text .. ' '

local function describe(id, body)
  bodies[size + 1], bodies[size + 2] = id, before .. body
  size = size + 2
  if listening then
    local length, rest = match(body, '^(%d+)[^\n]*\n(.*)$')
    tell('a', id, cjson.encode({ name = sub(rest, 1, tonumber(length)) }))
  end
end

local function append(id, body)
  describe(id, body)
  entered = entered + 1
  tail[#tail + 1] = id
end

local function write_bodies()
  for from = 1, size, 4000 do
    call('HSET', jobs, unpack(bodies, from, math.min(from + 3999, size)))
  end
  bodies, size = {}, 0
  line_up()
end
