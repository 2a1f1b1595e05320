-- Adds jobs without options at the tail of the queue. As add.lua, without what jobs with options need.
--
-- KEYS[1]  hash        jobs
-- KEYS[2]  list        wait
-- KEYS[3]  sorted set  idle
-- KEYS[4]  hash        meta
-- KEYS[5]  stream      events
-- ARGV[1]  prefix      of a worker's channel
-- ARGV[2]  channel     of the subscribers to events
-- ARGV[3…] two for each job: id, body
--
-- Returns { now, { }, 0, { } }, as `add.lua`.
set_listening(call('HGET', meta, 'heard'))
for at = 3, #ARGV, 2 do
  append(ARGV[at], ARGV[at + 1])
end
write_bodies()
wake_workers(enqueued)
publish_events()
return { now_text, {}, 0, {} }
