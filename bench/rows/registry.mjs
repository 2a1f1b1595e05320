/**
 * The worker registry. `latency` rows: one call at a time, in a fleet of so many. `beats`: heartbeats as fast as they go, 1000 in flight, which
 * travel many in one call; the peer is Redis' own limit, the least that a fenced heartbeat can be: a script that compares an epoch, moves a
 * deadline and notes the time, for 50 workers a call, 20 calls in flight, through our own manager. `scale`: the same work in a fleet of 100 000
 * and in one of 1 000, and what a worker costs.
 */
import { createRequire } from "node:module";
import { packageEntry } from "../clients/ours.mjs";
import { oneAtATime, saturate } from "../harness/load.mjs";
import { limit, ratio } from "../harness/targets.mjs";

const require = createRequire(import.meta.url);

/** Nothing falls due while it is measured. */
const OPTIONS = { autoHeartbeat: false, heartbeatIntervalMs: 600_000 };
const KINDS = ["render", "encode", "mail", "report"];
const REGISTER_AT_ONCE = 500;
const BEATS_PER_CALL = 50;

async function connect({ endpoint, packageDirectory }) {
  const backplane = require(packageEntry(packageDirectory));
  const manager = new backplane.RedisConnectionManager({ host: endpoint.host, port: endpoint.port });
  await manager.connect();
  return { backplane, manager };
}

const idOf = (n) => `worker-${n}`;
const worker = (n) => ({
  id: idOf(n),
  type: KINDS[n % KINDS.length],
  capabilities: [`zone-${n % 3}`, `model-${n % 10}`],
  metadata: { version: "1.4.2", shard: n % 64 },
  capacity: 8,
});

/** A registry with `size` workers, in a namespace of its own. */
async function fleet({ backplane, manager }, size) {
  const registry = new backplane.WorkerRegistry(manager, { ...OPTIONS, namespace: `fleet-${size}` });
  for (let from = 0; from < size; from += REGISTER_AT_ONCE) {
    const some = Array.from({ length: Math.min(REGISTER_AT_ONCE, size - from) }, (_, n) => worker(from + n));
    await Promise.all(some.map((one) => registry.register(one)));
  }
  return registry;
}

const isTrue = (reply) => {
  if (reply !== true) throw new Error("a heartbeat was refused");
};

/** One call at a time; milliseconds. */
async function timed(context, span, issue, check = () => {}) {
  const quarter = { ...context, warmMs: context.warmMs / 4, windowMs: context.windowMs / 4 };
  const { p50Micros, p99Micros } = await oneAtATime({ ...quarter, span, issue, check });
  return { p50: p50Micros / 1000, p99: p99Micros / 1000 };
}

async function latencies(context, registry, size) {
  const register = await timed(context, size, (n) => registry.register(worker(n)));
  const heartbeat = await timed(context, size, (n) => registry.heartbeat(idOf(n), { load: (n % 10) / 10 }), isTrue);
  const claim = await timed(context, size, async (n) => {
    const held = await registry.claim({ type: KINDS[n % KINDS.length], capabilities: [`zone-${n % 3}`] });
    if (held === null) throw new Error("no worker was found");
    // Given back without waiting, so that what is timed is the claim.
    held.release().catch(() => {});
  });
  const list = await timed(context, size, (n) => registry.list({ type: KINDS[n % KINDS.length], limit: 50 }));
  return { register, heartbeat, claim, list };
}

const latencyRow = (size, targets) => ({
  name: `registry-${size}`,
  title: `registry with ${size} workers, one call at a time`,
  metrics: [
    { key: "registerP50", title: "register p50 ms", better: "lower", digits: 3 },
    { key: "registerP99", title: "p99", better: "lower", digits: 3 },
    { key: "heartbeatP50", title: "heartbeat p50", better: "lower", digits: 3 },
    { key: "heartbeatP99", title: "p99", better: "lower", digits: 3 },
    { key: "claimP50", title: "claim p50", better: "lower", digits: 3 },
    { key: "claimP99", title: "p99", better: "lower", digits: 3 },
    { key: "listP50", title: "list 50 p50", better: "lower", digits: 3 },
    { key: "listP99", title: "p99", better: "lower", digits: 3 },
  ],
  targets,
  contestants: [
    {
      client: "ours",
      configuration: "defaults",
      isDefault: true,
      async open(context) {
        const connected = await connect(context);
        const registry = await fleet(connected, context.quick ? Math.min(size, 2_000) : size);
        return {
          async sample() {
            const { register, heartbeat, claim, list } = await latencies(context, registry, context.quick ? 2_000 : size);
            return {
              registerP50: register.p50,
              registerP99: register.p99,
              heartbeatP50: heartbeat.p50,
              heartbeatP99: heartbeat.p99,
              claimP50: claim.p50,
              claimP99: claim.p99,
              listP50: list.p50,
              listP99: list.p99,
            };
          },
          close: () => connected.manager.disconnect(),
        };
      },
    },
  ],
});

/** The least that a fenced heartbeat can be. */
const LEAST = `
local now = redis.call('TIME')
local at = now[1] * 1000
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('ZADD', KEYS[2], at, ARGV[i])
    redis.call('HSET', KEYS[3], ARGV[i], at)
  end
end
return 1`;

async function least({ manager }, size) {
  const keys = ["{least}:epochs", "{least}:deadlines", "{least}:times"];
  for (let n = 0; n < size; n += 1) {
    const set = manager.command("HSET", keys[0], idOf(n), "1795260288514924");
    if (n % REGISTER_AT_ONCE === 0) await set;
  }
  await manager.ping();
  const calls = Array.from({ length: Math.ceil(size / BEATS_PER_CALL) }, (_, call) =>
    Array.from({ length: BEATS_PER_CALL }, (_, n) => [idOf((call * BEATS_PER_CALL + n) % size), "1795260288514924"]).flat(),
  );
  return { span: calls.length, issue: (n) => manager.script(LEAST, keys, calls[n]) };
}

const throughput = [
  { key: "perSecond", title: "heartbeats/s", better: "higher", digits: 0 },
  { key: "cpuMicros", title: "CPU µs/heartbeat", better: "lower", digits: 2 },
];

const beatsRow = (size) => ({
  name: `registry-beats-${size}`,
  title: `heartbeats of ${size} workers of one process, as fast as they go`,
  metrics: throughput,
  targets: [ratio({ metric: "perSecond", against: "redis-limit", atLeast: 0.8 })],
  contestants: [
    {
      client: "ours",
      configuration: "1000 in flight",
      isDefault: true,
      async open(context) {
        const connected = await connect(context);
        const registry = await fleet(connected, size);
        const issue = (n) => registry.heartbeat(idOf(n));
        return {
          sample: () => saturate({ ...context, inFlight: 1_000, span: size, issue, check: isTrue }),
          close: () => connected.manager.disconnect(),
        };
      },
    },
    {
      client: "redis-limit",
      configuration: "50 a call, 20 calls in flight",
      isDefault: true,
      async open(context) {
        const connected = await connect(context);
        const parts = await least(connected, size);
        return {
          async sample() {
            const measured = await saturate({ ...context, ...parts, inFlight: 20, check: () => {} });
            return {
              ...measured,
              perSecond: measured.perSecond * BEATS_PER_CALL,
              cpuMicros: measured.cpuMicros / BEATS_PER_CALL,
            };
          },
          close: () => connected.manager.disconnect(),
        };
      },
    },
  ],
});

/** What the server's own clock says that one script call of `work` takes, in microseconds. */
async function serverMicros(manager, work) {
  await manager.command("CONFIG", "RESETSTAT");
  const calls = await work();
  const stats = await manager.command("INFO", "commandstats");
  const [, usec] = /cmdstat_evalsha:calls=\d+,usec=(\d+)/.exec(stats) ?? [];
  return Number(usec) / calls;
}

const usedMemory = async (manager) => Number(/used_memory:(\d+)/.exec(await manager.command("INFO", "memory"))?.[1]);

const scaleRow = {
  name: "registry-scale",
  title: "registry with 100 000 workers, against itself with 1 000; times on the server, µs",
  metrics: [
    { key: "beatRatio", title: "beat ×", better: "lower", digits: 2 },
    { key: "beatMicros", title: "beat", better: "lower", digits: 2 },
    { key: "claimRatio", title: "claim ×", better: "lower", digits: 2 },
    { key: "claimMicros", title: "claim", better: "lower", digits: 1 },
    { key: "registerRatio", title: "register ×", better: "lower", digits: 2 },
    { key: "registerMicros", title: "register", better: "lower", digits: 1 },
    { key: "sweepMicros", title: "sweep, nothing due", better: "lower", digits: 1 },
    { key: "bytesPerWorker", title: "bytes/worker", better: "lower", digits: 0 },
  ],
  targets: [
    limit({ metric: "beatRatio", unit: "×", atMost: 2 }),
    limit({ metric: "claimRatio", unit: "×", atMost: 2 }),
    limit({ metric: "sweepMicros", unit: "µs", atMost: 100 }),
  ],
  maxRounds: 3,
  contestants: [
    {
      client: "ours",
      configuration: "defaults",
      isDefault: true,
      async open(context) {
        const connected = await connect(context);
        const { manager } = connected;
        const small = await fleet(connected, 1_000);
        const large = context.quick ? 10_000 : 100_000;
        const before = await usedMemory(manager);
        const big = await fleet(connected, large);
        const bytesPerWorker = ((await usedMemory(manager)) - before) / large;

        // Spread over the whole fleet, so that nothing is warmer than it would be.
        const spread = (size, n) => idOf((n * 7_919) % size);
        const beats = (registry, size) =>
          serverMicros(manager, async () => {
            for (let round = 0; round < 20; round += 1) {
              await Promise.all(Array.from({ length: 500 }, (_, n) => registry.heartbeat(spread(size, round * 500 + n)).then(isTrue)));
            }
            return 10_000;
          });
        const claims = (registry) =>
          serverMicros(manager, async () => {
            const held = [];
            for (let n = 0; n < 500; n += 1) held.push(await registry.claim({ type: KINDS[n % 4], capabilities: [`zone-${n % 3}`] }));
            await Promise.all(held.map((claim) => claim.release()));
            // A claim and its release.
            return 500;
          });
        const registers = (registry, size) =>
          serverMicros(manager, async () => {
            for (let n = 0; n < 500; n += 1) await registry.register(worker((n * 7_919) % size));
            return 500;
          });
        const sweeps = (registry) =>
          serverMicros(manager, async () => {
            for (let n = 0; n < 500; n += 1) await registry.reap();
            return 500;
          });
        return {
          async sample() {
            const beatSmall = await beats(small, 1_000);
            const beatMicros = await beats(big, large);
            const claimSmall = await claims(small);
            const claimMicros = await claims(big);
            const registerSmall = await registers(small, 1_000);
            const registerMicros = await registers(big, large);
            const sweepMicros = await sweeps(big);
            return {
              beatRatio: beatMicros / beatSmall,
              beatMicros,
              claimRatio: claimMicros / claimSmall,
              claimMicros,
              registerRatio: registerMicros / registerSmall,
              registerMicros,
              sweepMicros,
              bytesPerWorker,
            };
          },
          close: () => manager.disconnect(),
        };
      },
    },
  ],
};

export const rows = [
  latencyRow(10_000, [
    limit({ metric: "registerP99", unit: "ms", atMost: 5 }),
    limit({ metric: "heartbeatP99", unit: "ms", atMost: 2 }),
    limit({ metric: "claimP50", unit: "ms", atMost: 1 }),
  ]),
  latencyRow(100_000, [
    limit({ metric: "registerP99", unit: "ms", atMost: 5 }),
    limit({ metric: "heartbeatP99", unit: "ms", atMost: 2 }),
    limit({ metric: "claimP50", unit: "ms", atMost: 1 }),
  ]),
  beatsRow(1_000),
  beatsRow(10_000),
  scaleRow,
];
