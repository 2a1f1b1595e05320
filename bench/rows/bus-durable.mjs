/**
 * Durable messages: appended to a stream, handled by a consumer group, acknowledged. The peer is what one writes by hand on ioredis:
 * `XADD`, a loop of blocking `XREADGROUP` on a connection of its own, a handler, `XACK`. Ours does more with each message: it sends it to
 * live subscribers too, and keeps what retries, order by key and taking over need.
 */
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { packageEntry } from "../clients/ours.mjs";
import { both } from "../harness/load.mjs";
import { quantile } from "../harness/statistics.mjs";
import { ratio } from "../harness/targets.mjs";

const require = createRequire(import.meta.url);
const MIB = 1024 * 1024;
/** Each contestant has a process, and must not take the messages of another. */
const TOPIC = `bench-durable-${process.pid}`;
const GROUP = "bench";
/** Messages published and not yet handled, at most. */
const OUTSTANDING = 1000;
const RATE = 1000;
const KEYS = 100;

/** 250 bytes of JSON, and when it was published. */
const messageOf = (n, at) => ({ n, at, tenant: "acme", kind: "order.created", text: "x".repeat(150) });

/** `{ publish(message, key), consume(handler), redis(), close() }` of our bus. */
async function ours({ endpoint, packageDirectory }, isKeyed) {
  const backplane = require(packageEntry(packageDirectory));
  const manager = new backplane.RedisConnectionManager({ host: endpoint.host, port: endpoint.port });
  await manager.connect();
  const bus = new backplane.MessageBus(manager);
  return {
    publish: (message, key) => bus.publish(TOPIC, message, isKeyed ? { durable: true, key } : { durable: true }),
    consume: (handler) => bus.subscribe(TOPIC, ({ payload }) => handler(payload), { group: GROUP, concurrency: 100 }),
    info: (section) => manager.command("INFO", section),
    close: async () => {
      await bus.close();
      await manager.disconnect();
    },
  };
}

const byHand = (options) => async (context) => {
  const { Redis } = await import("ioredis");
  const { host, port } = context.endpoint;
  const publisher = new Redis({ host, port, ...options });
  const reader = new Redis({ host, port });
  let running = true;
  let loop;
  return {
    publish: (message) => publisher.xadd(TOPIC, "*", "data", JSON.stringify(message)),
    consume: async (handler) => {
      await publisher.xgroup("CREATE", TOPIC, GROUP, "$", "MKSTREAM").catch((error) => {
        if (!error.message.startsWith("BUSYGROUP")) throw error;
      });
      const read = ["GROUP", GROUP, "consumer", "COUNT", 100, "BLOCK", 100, "STREAMS", TOPIC, ">"];
      loop = (async () => {
        let sinceTrim = 0;
        while (running) {
          const reply = await reader.xreadgroup(...read);
          if (reply === null) continue;
          const ids = [];
          for (const [id, fields] of reply[0][1]) {
            await handler(JSON.parse(fields[1]));
            ids.push(id);
          }
          // Awaited by nobody: the next read does not depend on it.
          publisher.xack(TOPIC, GROUP, ...ids);
          sinceTrim += ids.length;
          if (sinceTrim > 10_000) {
            sinceTrim = 0;
            publisher.xtrim(TOPIC, "MAXLEN", "~", 100_000);
          }
        }
      })();
    },
    info: (section) => publisher.info(section),
    close: async () => {
      running = false;
      await loop;
      await Promise.all([publisher.quit(), reader.quit()]);
    },
  };
};

/** Seconds of CPU that the server's main thread has used. */
async function serverCpu(side) {
  const text = await side.info("cpu");
  const of = (field) => Number(new RegExp(`^${field}:([\\d.]+)`, "m").exec(text)?.[1] ?? Number.NaN);
  return of("used_cpu_user") + of("used_cpu_sys");
}

/** Publishes as fast as messages are handled, {@link OUTSTANDING} at a time. */
async function throughput(side, { warmMs, windowMs }) {
  let handled = 0;
  let running = true;
  const handlers = [];
  await side.consume(() => {
    handled++;
    handlers.pop()?.();
  });
  const hear = (step) => handlers.push(step);
  const sample = async () => {
    running = true;
    const loop = async (first) => {
      for (let n = first; running; n++) {
        // The next one when this is published and any one is handled, so that neither side runs ahead.
        await both(hear, () => side.publish(messageOf(n, 0), `key ${n % KEYS}`));
      }
    };
    const loops = Promise.all(Array.from({ length: OUTSTANDING }, (_, n) => loop(n)));
    await Promise.race([loops, sleep(warmMs)]);
    const before = { handled, time: performance.now(), cpu: process.cpuUsage(), server: await serverCpu(side) };
    await Promise.race([loops, sleep(windowMs)]);
    const count = handled - before.handled;
    const elapsedMs = performance.now() - before.time;
    const cpu = process.cpuUsage(before.cpu);
    const server = (await serverCpu(side)) - before.server;
    running = false;
    await loops;
    return {
      perSecond: (count / elapsedMs) * 1000,
      cpuMicros: (cpu.user + cpu.system) / count,
      serverMicros: (server * 1e6) / count,
      rssMiB: process.memoryUsage.rss() / MIB,
    };
  };
  return { sample, close: side.close };
}

/** Publishes {@link RATE} messages per second, and times each from then until its handler. */
async function latency(side, { warmMs, windowMs }) {
  let times;
  await side.consume(({ at }) => {
    times?.push(performance.now() - at);
  });
  const publishFor = async (ms) => {
    const begin = performance.now();
    for (let sent = 0; ; ) {
      const elapsed = performance.now() - begin;
      if (elapsed >= ms) return sent;
      for (; sent < (elapsed * RATE) / 1000; sent++) side.publish(messageOf(sent, performance.now()), `key ${sent % KEYS}`);
      await sleep(1);
    }
  };
  const sample = async () => {
    await publishFor(warmMs);
    times = [];
    const cpuBefore = process.cpuUsage();
    const sent = await publishFor(windowMs);
    const cpu = process.cpuUsage(cpuBefore);
    for (const end = performance.now() + 5_000; times.length < sent && performance.now() < end; ) await sleep(5);
    const sorted = Float64Array.from(times).sort();
    times = undefined;
    return {
      p50Micros: quantile(sorted, 0.5) * 1000,
      p99Micros: quantile(sorted, 0.99) * 1000,
      cpuMicros: (cpu.user + cpu.system) / sent,
    };
  };
  return { sample, close: side.close };
}

const contestants = (measure, isKeyed) => [
  {
    client: "ours",
    configuration: "defaults",
    isDefault: true,
    open: async (context) => measure(await ours(context, isKeyed), context),
  },
  {
    client: "ioredis",
    configuration: "by hand",
    isDefault: true,
    open: async (context) => measure(await byHand({})(context), context),
  },
  {
    client: "ioredis",
    configuration: "by hand, enableAutoPipelining",
    isDefault: false,
    open: async (context) => measure(await byHand({ enableAutoPipelining: true })(context), context),
  },
];

const throughputMetrics = [
  { key: "perSecond", title: "messages/s", better: "higher", digits: 0 },
  { key: "cpuMicros", title: "CPU µs/message", better: "lower", digits: 2 },
  { key: "serverMicros", title: "server µs/message", better: "lower", digits: 2 },
  { key: "rssMiB", title: "RSS MiB", better: "lower", digits: 0 },
];

export const rows = [
  {
    name: "durable",
    title: "durable messages of 250 bytes, published, handled and acknowledged, 1000 outstanding",
    metrics: throughputMetrics,
    targets: [ratio({ metric: "perSecond", against: "defaults", atLeast: 2 })],
    contestants: contestants(throughput, false),
  },
  {
    name: "durable-keyed",
    title: "the same in order of 100 keys, which the peer does not keep",
    metrics: throughputMetrics,
    targets: [],
    contestants: contestants(throughput, true),
  },
  {
    name: "durable-latency",
    title: "a durable message from publish to its handler, 1000 messages per second",
    metrics: [
      { key: "p50Micros", title: "p50 µs", better: "lower", digits: 0 },
      { key: "p99Micros", title: "p99 µs", better: "lower", digits: 0 },
      { key: "cpuMicros", title: "CPU µs/message", better: "lower", digits: 1 },
    ],
    targets: [],
    contestants: contestants(latency, false),
  },
];
