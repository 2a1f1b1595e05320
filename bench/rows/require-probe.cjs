// Nothing else is loaded here: what a library needs of Node's own modules is part of its time.
const before = performance.now();
require(process.argv[2]);
const requireMs = performance.now() - before;
process.stdout.write(JSON.stringify({ requireMs, rssMiB: process.memoryUsage.rss() / 1024 / 1024 }), () =>
  process.exit(),
);
