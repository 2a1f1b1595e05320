/** Raw GET and SET of 80-byte values, saturating: performance.md's first targets, and CPU per command. */
import { configurations } from "../clients/index.mjs";
import { saturate } from "../harness/load.mjs";
import { ratio } from "../harness/targets.mjs";
import { openWork } from "./keyspace.mjs";

const targets = {
  1000: [
    ratio({ metric: "perSecond", against: "defaults", atLeast: 4 }),
    ratio({ metric: "perSecond", against: "any", atLeast: 2 }),
    ratio({ metric: "cpuMicros", against: "ioredis", atMost: 0.35 }),
  ],
  64: [
    ratio({ metric: "perSecond", against: "defaults", atLeast: 2.5 }),
    ratio({ metric: "perSecond", against: "any", atLeast: 1.5 }),
  ],
};

export const throughputMetrics = [
  { key: "perSecond", title: "commands/s", better: "higher", digits: 0 },
  { key: "cpuMicros", title: "CPU µs/command", better: "lower", digits: 2 },
  { key: "rssMiB", title: "RSS MiB", better: "lower", digits: 0 },
];

const row = (kind, inFlight) => ({
  name: `${kind}-${inFlight}`,
  title: `${kind === "raw-get" ? "raw GET" : "raw SET"} of 80 bytes, ${inFlight} in flight`,
  metrics: throughputMetrics,
  targets: targets[inFlight],
  contestants: configurations.map((configuration) => ({
    ...configuration,
    open: (context) => openWork(configuration, kind, context, (parts) => saturate({ ...context, ...parts, inFlight })),
  })),
});

export const rows = [row("raw-get", 1000), row("raw-set", 1000), row("raw-get", 64), row("raw-set", 64)];
