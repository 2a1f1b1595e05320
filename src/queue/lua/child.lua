-- Takes the news of a child that is a job of another queue. Told twice it changes nothing.
--
-- KEYS[1..17], ARGV[1..5]: see part/base.lua
-- ARGV[6]  id    of the parent
-- ARGV[7]  text  the parent's name for the child
-- ARGV[8]  text  'c' completed, 'f' failed, 'r' removed
-- ARGV[9]  text  the result, or the reason
--
-- Returns 1.
hear(call('HGET', meta, 'heard'))
ended('', { p = { ARGV[6], ARGV[7] } }, ARGV[8], ARGV[9])
line_up()
wake(entered)
publish()
return 1
