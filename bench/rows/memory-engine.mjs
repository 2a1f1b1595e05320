/**
 * The engine behind `memory://` against a real `redis-server` on loopback, both through our own manager with its defaults.
 * The engine runs in the client's process, so its CPU per command includes what the server does in a process of its own.
 */
import { createRequire } from "node:module";
import { packageEntry } from "../clients/ours.mjs";
import { oneAtATime, saturate } from "../harness/load.mjs";
import { ratio } from "../harness/targets.mjs";
import { openWork } from "./keyspace.mjs";

const require = createRequire(import.meta.url);

/** `url(endpoint)` is where the manager connects to. */
const contestant = (client, url) => ({
  client,
  configuration: client === "ours" ? "memory://" : "through ours",
  isDefault: true,
  connect: async (endpoint, packageDirectory) => {
    const { RedisConnectionManager } = require(packageEntry(packageDirectory));
    const manager = new RedisConnectionManager(url(endpoint));
    await manager.connect();
    return {
      raw: {
        get: (key) => manager.command("GET", key),
        set: (key, value) => manager.command("SET", key, value),
      },
      close: () => manager.disconnect(),
    };
  },
});

const contestants = [
  contestant("ours", () => "memory://bench"),
  contestant("redis-server", ({ host, port }) => `redis://${host}:${port}`),
];

const perSecond = { key: "perSecond", title: "commands/s", better: "higher", digits: 0 };
const cpuMicros = { key: "cpuMicros", title: "CPU µs/command", better: "lower", digits: 2 };
const rssMiB = { key: "rssMiB", title: "RSS MiB", better: "lower", digits: 0 };

const row = (kind, { name, title, metrics, targets, split, load }) => ({
  name: `engine-${kind.slice("raw-".length)}-${name}`,
  title: `memory:// against redis-server, ${kind === "raw-get" ? "GET" : "SET"} of 80 bytes, ${title}`,
  metrics,
  targets,
  split,
  contestants: contestants.map((each) => ({
    ...each,
    open: (context) => openWork(each, kind, context, (parts) => load({ ...context, ...parts })),
  })),
});

const ways = [
  {
    name: "1",
    title: "one at a time",
    metrics: [
      { key: "p50Micros", title: "p50 µs", better: "lower", digits: 1 },
      { key: "p99Micros", title: "p99 µs", better: "lower", digits: 1 },
      perSecond,
      cpuMicros,
    ],
    targets: [ratio({ metric: "p50Micros", against: "redis-server", atMost: 1 })],
    split: 4,
    load: oneAtATime,
  },
  {
    name: "1000",
    title: "1000 in flight",
    metrics: [perSecond, cpuMicros, rssMiB],
    targets: [ratio({ metric: "perSecond", against: "redis-server", atLeast: 1 })],
    load: (parts) => saturate({ ...parts, inFlight: 1000 }),
  },
];

export const rows = ["raw-get", "raw-set"].flatMap((kind) => ways.map((way) => row(kind, way)));
