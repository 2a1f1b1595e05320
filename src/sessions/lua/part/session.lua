-- The start of every script of one session. All keys of a session are in one hash slot.
--
-- KEYS[1]  hash    data: the session, by the fields below
-- KEYS[2]  list    messages: newest first
-- KEYS[3]  string  gone: the session was destroyed; '<token> <1, or 0 if there was none> <user>'
-- KEYS[4]  string  taken: the session was taken over from another store
local data, messages, gone, taken = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- The fields of the hash. Times are ms of server time, spans are ms.
local JSON = 'j' -- the user's data
local VERSION = 'v' -- a number that grows by one with each save
local CREATED = 'c'
local EXPIRES = 'x' -- never after its absolute end
local ENDS = 'e' -- the absolute end; absent: none
local TTL = 't' -- the span: for how long a touch keeps the session
local USER = 'u' -- absent: the session has no user
local LISTED = 'l' -- when the session's entry was last written into its user's list
local TOKEN = 'k' -- the call that created the session
local APPENDED = 'a' -- the calls that appended the last messages, 22 characters each

local TOKENS_KEPT = 16 * 22

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

-- The session at these keys, or nil. A session that is over is deleted, even if its keys have not expired yet. A destroyed session has
-- no data, because one script deletes the data and writes the mark. With `json` the user's data are read too.
local function find(data, messages, json)
  local found = redis.call('HMGET', data, VERSION, CREATED, EXPIRES, ENDS, TTL, USER, LISTED, json and JSON or VERSION)
  local session = {
    version = tonumber(found[1] or nil),
    created = tonumber(found[2] or nil),
    expires = tonumber(found[3] or nil),
    ends = tonumber(found[4] or nil),
    ttl = tonumber(found[5] or nil),
    user = found[6] or nil,
    listed = tonumber(found[7] or 0),
    json = json and found[8] or '',
  }
  if not (session.version and session.created and session.expires and session.ttl) then
    return nil
  end
  if session.expires <= now then
    redis.call('UNLINK', data, messages)
    return nil
  end
  return session
end

-- The time for which a touch keeps the session: at most until its absolute end.
local function span(session)
  return math.min(session.ttl, (session.ends or math.huge) - now)
end

-- Touches a session: keeps data and messages for another span. A touch is due when `every`, or a quarter of the span, has passed since
-- the last touch; with `always` it is always due. Returns whether the list of the user must get the session's entry: once in `every`.
local function touch(session, every, always)
  local full = span(session)
  if not always and full - (session.expires - now) < math.min(every, full / 4) then
    return false
  end
  session.expires = now + full
  redis.call('HSET', data, EXPIRES, whole(session.expires), TTL, whole(session.ttl))
  redis.call('PEXPIREAT', data, whole(session.expires))
  redis.call('PEXPIREAT', messages, whole(session.expires))
  if session.user and now - session.listed >= every then
    redis.call('HSET', data, LISTED, whole(now))
    return true
  end
  return false
end

-- A session as scripts return it. With `listing` the user's list must get the session's entry.
local function row_of(session, json, listing)
  return { session.version, json, session.created, session.expires, listing and session.user or '' }
end
