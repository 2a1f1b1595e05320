-- One worker. Only sweeps and reads, so a repeated call is harmless.
--
-- ARGV[7]  text  id
--
-- Returns {now, row}, or {now}.
sweep(50)
return done({ now, rows({ ARGV[7] })[1] })
