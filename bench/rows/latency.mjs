/**
 * One command at a time: what a lone caller waits. Most of it is waking a sleeping thread, which on a virtual
 * machine takes 5 µs or 50, as the host's mood is: so the rounds are short and many.
 */
import { configurations } from "../clients/index.mjs";
import { oneAtATime } from "../harness/load.mjs";
import { ratio } from "../harness/targets.mjs";
import { openWork } from "./keyspace.mjs";

const row = (kind) => ({
  name: kind.replace("raw", "latency"),
  title: `${kind === "raw-get" ? "raw GET" : "raw SET"} of 80 bytes, one at a time`,
  metrics: [
    { key: "p50Micros", title: "p50 µs", better: "lower", digits: 1 },
    { key: "p99Micros", title: "p99 µs", better: "lower", digits: 1 },
    { key: "perSecond", title: "commands/s", better: "higher", digits: 0 },
    { key: "cpuMicros", title: "CPU µs/command", better: "lower", digits: 1 },
  ],
  targets: [
    ratio({ metric: "p50Micros", against: "ioredis", atMost: 1.05 }),
    ratio({ metric: "p99Micros", against: "ioredis", atMost: 1.1 }),
  ],
  split: 4,
  contestants: configurations.map((configuration) => ({
    ...configuration,
    open: (context) => openWork(configuration, kind, context, (parts) => oneAtATime({ ...context, ...parts })),
  })),
});

export const rows = [row("raw-get"), row("raw-set")];
