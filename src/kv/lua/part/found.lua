-- The ms of server time at which a key expires, or nil.
local function expiry(key)
  local expires = redis.pcall('PEXPIRETIME', key)
  if type(expires) == 'number' then
    return expires >= 0 and expires or nil
  end
  -- Redis 6.2 has no PEXPIRETIME. Its clock advances during a script, so TIME and PTTL must be read in the same millisecond.
  local now, left
  repeat
    local before = redis.call('TIME')
    left = redis.call('PTTL', key)
    local after = redis.call('TIME')
    now = tonumber(after[1]) * 1000 + math.floor(tonumber(after[2]) / 1000)
    local same = before[1] == after[1] and math.floor(tonumber(before[2]) / 1000) == math.floor(tonumber(after[2]) / 1000)
  until same
  return left >= 0 and now + left or nil
end

-- The state of a key, for a comparison with its state when a load started.
--
-- Returns a text that changes with the value and with its expiry, '' if the key does not exist; and the ms of server time at which
-- the key expires, or nil.
local function found(key)
  local kind = redis.call('TYPE', key)['ok']
  if kind == 'none' then
    return '', nil
  elseif kind ~= 'string' then
    return kind, nil
  end
  local value = redis.call('GET', key)
  if not value then
    return '', nil
  end
  local digest = redis.sha1hex(value)
  local expires = expiry(key)
  if not expires then
    return digest, nil
  end
  return string.format('%s %.0f', digest, expires), expires
end

-- True if a key is unchanged since a load started, or has only expired since then.
local function unchanged(key, was, expires)
  local is = found(key)
  if is == was then
    return true
  end
  if is ~= '' or expires == '' then
    return false
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) >= tonumber(expires)
end

