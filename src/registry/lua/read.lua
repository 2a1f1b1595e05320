-- What is known of one worker. Only sweeps and reads; asked again it does no harm.
--
-- ARGV[7]  text  id
--
-- Returns {now, row}, or {now}.
sweep(50)
return done({ now, rows({ ARGV[7] })[1] })
