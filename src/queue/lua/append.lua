-- Adds jobs without options, at the tail of the queue: what `add.lua` does, with nothing that those need who have some.
--
-- KEYS[1]  hash        jobs
-- KEYS[2]  list        wait
-- KEYS[3]  sorted set  idle
-- KEYS[4]  hash        meta
-- KEYS[5]  stream      events
-- ARGV[1]  prefix      of a worker's channel
-- ARGV[2]  channel     of those who listen
-- ARGV[3…] two for each job: id, body
--
-- Returns { now, { }, 0, { } }, as `add.lua`.
hear(call('HGET', meta, 'heard'))
for at = 3, #ARGV, 2 do
  append(ARGV[at], ARGV[at + 1])
end
write_bodies()
wake(entered)
publish()
return { now_text, {}, 0, {} }
