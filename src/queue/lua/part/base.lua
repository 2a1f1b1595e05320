-- The start of most scripts of a queue: its keys, and the prefixes of names that ids complete.
--
-- KEYS[1]   hash        jobs: the job as it was added, by id: '<added at ms> <body>'
-- KEYS[2]   hash        run: by id, 'state|lease|attempts|stalls|started|finished|priority|group\nrest'; see src/queue/record.rs
-- KEYS[3]   hash        more: 'p<id>' progress, 's<id>' stacks, 'g<id>' ghosts in the list, 'n<id>' the job that follows it
-- KEYS[4]   list        wait
-- KEYS[5]   sorted set  ranked
-- KEYS[6]   sorted set  delayed
-- KEYS[7]   sorted set  parked
-- KEYS[8]   sorted set  completed
-- KEYS[9]   sorted set  failed
-- KEYS[10]  sorted set  leases
-- KEYS[11]  sorted set  idle
-- KEYS[12]  hash        meta
-- KEYS[13]  stream      events
-- KEYS[14]  list        ring
-- KEYS[15]  set         blocked
-- KEYS[16]  hash        busy
-- KEYS[17]  hash        outbox
-- ARGV[1]   prefix      of the list of a job's log lines; with '\1' behind the id, of its large result where it was not kept
-- ARGV[2]   prefix      of the hash of a job's children: by the job's name for the child 'p' pending, 'f' failed, each with the number of the
--                       news, or 'c' and its result; '' how many are not completed; '\1' what the job's own end means, JSON; '\2' and the name
--                       of a child in another queue: '<queue>\n<id>\n<message that adds it>\n<key of its dedupe id>'; '\3' the job that it
--                       follows, '\4' how it waits then: 'd<ms>' delayed, 'l' at the head. With '\1' before the id, of the sorted set of those that wait for it though it was
--                       there before them; with '\2' alone, the sorted set of dedupe ids that are held though the job is over; with '\4' and a number, of those
--                       that wait for a job that is over, see rest.lua
-- ARGV[3]   prefix      of the sorted set of a group's waiting jobs
-- ARGV[4]   prefix      of a worker's channel
-- ARGV[5]   channel     of those who listen
local jobs, run, more, wait, ranked, delayed, parked = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local completed, failed, leases, idle, meta, events = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local ring, blocked, busy, outbox = KEYS[14], KEYS[15], KEYS[16], KEYS[17]
local log_of, kids_of, group_of, wake_of, told_channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
