/**
 * Live messages: 250-byte envelopes, published and received in one process. The peers do by hand what the bus does: they make the
 * envelope, stringify it, publish it on one connection, hear it on another and parse it.
 */
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { packageEntry } from "../clients/ours.mjs";
import { both, saturate } from "../harness/load.mjs";
import { quantile } from "../harness/statistics.mjs";
import { ratio } from "../harness/targets.mjs";
import { throughputMetrics } from "./raw.mjs";

const require = createRequire(import.meta.url);
const MIB = 1024 * 1024;
/** The contestants share a server. */
const TOPIC = `bench-live-${process.pid}`;
/** Messages published and not yet received. */
const IN_FLIGHT = 1000;
/** Messages per second of the latency row. */
const RATE = 1000;

/** With its envelope, 250 bytes of JSON. */
const payloadOf = (slot, at) => ({ slot, at, kind: "order.created", text: "x".repeat(16) });

/** `{ publish(payload), subscribe(handler), close() }`. */
async function ours({ endpoint, packageDirectory }) {
  const { MessageBus, RedisConnectionManager } = require(packageEntry(packageDirectory));
  const manager = new RedisConnectionManager({ host: endpoint.host, port: endpoint.port });
  await manager.connect();
  const bus = new MessageBus(manager);
  return {
    publish: (payload) => bus.publish(TOPIC, payload),
    subscribe: (handler) => bus.subscribe(TOPIC, ({ payload }) => handler(payload)),
    close: async () => {
      await bus.close();
      await manager.disconnect();
    },
  };
}

function textOf(payload) {
  const id = randomUUID();
  const msg = { id, type: TOPIC, ts: new Date().toISOString(), corrId: id, payload, attempts: 0 };
  return JSON.stringify({ msg });
}

const byIoredis = (options) => async (context) => {
  const { Redis } = await import("ioredis");
  const { host, port } = context.endpoint;
  const publisher = new Redis({ host, port, ...options });
  const subscriber = new Redis({ host, port });
  return {
    publish: (payload) => publisher.publish(TOPIC, textOf(payload)),
    subscribe: async (handler) => {
      subscriber.on("message", (_, text) => handler(JSON.parse(text).msg.payload));
      await subscriber.subscribe(TOPIC);
    },
    close: () => Promise.all([publisher.quit(), subscriber.quit()]),
  };
};

const byNodeRedis = (options) => async (context) => {
  const { createClient } = await import("redis");
  const { host, port } = context.endpoint;
  const [publisher, subscriber] = [{ socket: { host, port }, ...options }, { socket: { host, port } }].map(createClient);
  for (const client of [publisher, subscriber]) {
    client.on("error", (error) => console.error(`node-redis: ${error.message}`));
    await client.connect();
  }
  return {
    publish: (payload) => publisher.publish(TOPIC, textOf(payload)),
    subscribe: (handler) => subscriber.subscribe(TOPIC, (text) => handler(JSON.parse(text).msg.payload)),
    close: () => Promise.all([publisher.close(), subscriber.close()]),
  };
};

const clients = [
  { client: "ours", configuration: "defaults", isDefault: true, connect: ours },
  { client: "ioredis", configuration: "defaults", isDefault: true, connect: byIoredis({}) },
  {
    client: "ioredis",
    configuration: "enableAutoPipelining",
    isDefault: false,
    connect: byIoredis({ enableAutoPipelining: true }),
  },
  { client: "node-redis", configuration: "defaults", isDefault: true, connect: byNodeRedis({}) },
  {
    client: "node-redis",
    configuration: "no command timeout",
    isDefault: false,
    connect: byNodeRedis({ commandOptions: { timeout: undefined } }),
  },
];

/** A thousand messages in flight: each is published again when it has been received and its publication answered. */
async function openThroughput(client, context) {
  const live = await client.connect(context);
  const arrived = [];
  await live.subscribe(({ slot }) => arrived[slot]());
  // Slots go round: that of a message is free long before it comes again.
  let next = 0;
  const issue = () => {
    const slot = next;
    next = (next + 1) % (4 * IN_FLIGHT);
    if (arrived[slot] !== undefined) throw new Error("a message has not arrived four rounds later");
    const hear = (step) => {
      arrived[slot] = () => {
        arrived[slot] = undefined;
        step();
      };
    };
    return both(hear, () => live.publish(payloadOf(slot, 0)));
  };
  const check = (receivers) => {
    if (receivers !== 1) throw new Error(`expected 1 receiver, got ${receivers}`);
  };
  return {
    sample: () => saturate({ ...context, inFlight: IN_FLIGHT, span: IN_FLIGHT, issue, check }),
    close: () => live.close(),
  };
}

/** A message every millisecond, from its publication until its handler runs. */
async function openLatency(client, context) {
  const live = await client.connect(context);
  let timed = [];
  await live.subscribe(({ at }) => timed.push(performance.now() - at));
  const run = async (ms) => {
    const start = performance.now();
    const published = [];
    for (let elapsed = 0; elapsed < ms; elapsed = performance.now() - start) {
      while (published.length < (elapsed * RATE) / 1000) published.push(live.publish(payloadOf(0, performance.now())));
      await sleep(1);
    }
    await Promise.all(published);
    for (const end = performance.now() + 5000; timed.length < published.length && performance.now() < end; ) await sleep(1);
    if (timed.length !== published.length) throw new Error(`${published.length} published, ${timed.length} received`);
  };
  return {
    sample: async () => {
      await run(context.warmMs);
      timed = [];
      const cpuBefore = process.cpuUsage();
      await run(context.windowMs);
      const cpu = process.cpuUsage(cpuBefore);
      const sorted = Float64Array.from(timed).sort();
      const count = timed.length;
      timed = [];
      return {
        p50Micros: quantile(sorted, 0.5) * 1000,
        p99Micros: quantile(sorted, 0.99) * 1000,
        cpuMicros: (cpu.user + cpu.system) / count,
        rssMiB: process.memoryUsage.rss() / MIB,
      };
    },
    close: () => live.close(),
  };
}

const contestants = (open) => clients.map((client) => ({ ...client, open: (context) => open(client, context) }));

export const rows = [
  {
    name: "bus-live",
    title: "live bus: publish and receive 250-byte envelopes, 1000 in flight",
    metrics: throughputMetrics.map((metric) =>
      metric.key === "perSecond" ? { ...metric, title: "messages/s" } : { ...metric, title: metric.title.replace("command", "message") },
    ),
    targets: [ratio({ metric: "perSecond", against: "any", atLeast: 3 })],
    contestants: contestants(openThroughput),
  },
  {
    name: "bus-live-latency",
    title: "live bus: from publish to handler at 1000 messages per second",
    metrics: [
      { key: "p50Micros", title: "p50 µs", better: "lower", digits: 1 },
      { key: "p99Micros", title: "p99 µs", better: "lower", digits: 1 },
      { key: "cpuMicros", title: "CPU µs/message", better: "lower", digits: 1 },
      { key: "rssMiB", title: "RSS MiB", better: "lower", digits: 0 },
    ],
    targets: [],
    contestants: contestants(openLatency),
  },
];
