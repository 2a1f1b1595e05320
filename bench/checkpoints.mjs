/**
 * What `CheckpointStore` costs: `latest` and `save` in a thread with 10, 1 000 and 100 000 checkpoints, the memory of a checkpoint, and
 * `interrupted` beside 10 000 owned threads. The figures of docs/checkpoints.md.
 *
 *   node bench/checkpoints.mjs [--package dir] [--calls 4000] [--rounds 5]
 *
 * Times are processor time, of the server (`INFO cpu`) and of this process (`process.cpuUsage()`, native threads included), so that what
 * else the machine does counts for little. Lengths take turns within a round; reported are medians of the rounds.
 *
 * Needs a build and `redis-server`.
 */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { packageEntry } from "./clients/ours.mjs";
import { complete } from "./harness/load.mjs";
import { startServer } from "./harness/server.mjs";
import { summarize } from "./harness/statistics.mjs";
import { objects, SPAN } from "./rows/keyspace.mjs";

const LENGTHS = [10, 1_000, 100_000];
const IN_FLIGHT = 64;
const OWNED = 10_000;
const OVERDUE = 100;
const SHORT_LEASE_MS = 100;
const LONG_LEASE_MS = 600_000;
const TEN_KIB = 10_000;
const KEPT_FOR_MEMORY = 10_000;

const { values } = parseArgs({
  options: {
    package: { type: "string", default: fileURLToPath(new URL("..", import.meta.url)) },
    calls: { type: "string", default: "4000" },
    rounds: { type: "string", default: "5" },
  },
});
const [calls, rounds] = [Number(values.calls), Number(values.rounds)];
const { CheckpointStore, RedisConnectionManager } = createRequire(import.meta.url)(packageEntry(values.package));

const server = await startServer();
const connect = () => new RedisConnectionManager({ host: server.endpoint.host, port: server.endpoint.port });
const manager = connect();

/** The number behind `name` in what INFO says. */
async function info(section, name) {
  const text = await manager.command("INFO", section);
  return Number(new RegExp(`^${name}:(.+)$`, "m").exec(text)[1]);
}

const serverMicros = async () => 1e6 * ((await info("cpu", "used_cpu_user")) + (await info("cpu", "used_cpu_sys")));

/** `count` calls of `issue`, 64 in flight: microseconds of processor for each, and calls a second. */
async function timed(count, issue) {
  const before = { server: await serverMicros(), own: process.cpuUsage(), at: performance.now() };
  await complete({ inFlight: IN_FLIGHT, count, span: SPAN, issue, check: () => {} });
  const elapsedMs = performance.now() - before.at;
  const own = process.cpuUsage(before.own);
  return {
    server: ((await serverMicros()) - before.server) / count,
    own: (own.user + own.system) / count,
    perSecond: (count / elapsedMs) * 1_000,
  };
}

/** Removes a thread, and waits until the server has freed what it had. */
async function remove(store, thread) {
  await store.remove(thread);
  while ((await info("memory", "lazyfree_pending_objects")) > 0);
}

/** The medians of what `measure` gives for each of `of`, which take turns. */
async function inTurns(of, measure) {
  const samples = of.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [at, one] of of.entries()) samples[at].push(await measure(one));
  }
  return samples.map((some) =>
    Object.fromEntries(Object.keys(some[0]).map((key) => [key, summarize(some.map((sample) => sample[key])).median])),
  );
}

function print(title, { server: ofServer, own, perSecond }) {
  const figures = [`server ${ofServer.toFixed(1)} µs`, `process ${own.toFixed(1)} µs`, `${Math.round(perSecond)}/s`];
  console.log(`  ${title.padEnd(48)}${figures.map((figure) => figure.padEnd(20)).join("")}`);
}

/** A thread of that length, which keeps it: each further save takes one away. */
async function threadOf(length) {
  const store = new CheckpointStore(manager, { keep: { last: length } });
  const thread = `length-${length}`;
  await complete({ inFlight: IN_FLIGHT, count: length, span: SPAN, issue: (n) => store.save(thread, objects[n]), check: () => {} });
  return { length, store, thread };
}

async function lengths() {
  const threads = [];
  for (const length of LENGTHS) threads.push(await threadOf(length));
  const latest = await inTurns(threads, ({ store, thread }) => timed(calls, () => store.latest(thread)));
  const saved = await inTurns(threads, ({ store, thread }) => timed(calls, (n) => store.save(thread, objects[n])));
  for (const [at, { length }] of threads.entries()) {
    print(`latest, ${length} checkpoints`, latest[at]);
    print(`save, ${length} checkpoints`, saved[at]);
  }
  for (const { store, thread } of threads) await remove(store, thread);
}

async function memory() {
  const store = new CheckpointStore(manager, { keep: { last: KEPT_FOR_MEMORY } });
  const large = objects.map((object) => ({ ...object, note: "n".repeat(TEN_KIB - JSON.stringify({ ...object, note: "" }).length) }));
  for (const [what, states] of [["250 bytes", objects], ["10 000 bytes", large]]) {
    await store.save("warm", states[0]);
    const before = await info("memory", "used_memory");
    await complete({
      inFlight: IN_FLIGHT,
      count: KEPT_FOR_MEMORY,
      span: SPAN,
      issue: (n) => store.save("memory", states[n]),
      check: () => {},
    });
    const each = ((await info("memory", "used_memory")) - before) / KEPT_FOR_MEMORY;
    console.log(`  ${`memory of a checkpoint, a state of ${what}`.padEnd(48)}${Math.round(each)} bytes`);
    await remove(store, "memory");
  }
}

/** `count` threads that `of` owns. */
async function own(of, name, count, leaseMs) {
  const store = new CheckpointStore(of, {});
  await complete({
    inFlight: IN_FLIGHT,
    count,
    span: count,
    issue: (n) => store.acquire(`${name}-${n}`, { leaseMs }),
    check: (run) => {
      if (run === null) throw new Error("a thread has an owner already");
    },
  });
}

async function interrupted() {
  const store = new CheckpointStore(manager);
  await own(manager, "alive", OWNED, LONG_LEASE_MS);
  const look = async (count) => {
    const found = await store.interrupted();
    if (found.length !== count) throw new Error(`${found.length} are interrupted, not ${count}`);
  };
  const measure = (count) => inTurns([count], () => timed(calls / 20, () => look(count)));
  print(`interrupted, 0 of ${OWNED} owned threads`, (await measure(0))[0]);
  const mortal = connect();
  await own(mortal, "dead", OVERDUE, SHORT_LEASE_MS);
  await mortal.disconnect();
  while ((await store.interrupted()).length < OVERDUE);
  print(`interrupted, ${OVERDUE} of ${OWNED + OVERDUE}`, (await measure(OVERDUE))[0]);
}

try {
  console.log(`medians of ${rounds} rounds, ${calls} calls each, ${IN_FLIGHT} in flight; microseconds of processor for each call`);
  await lengths();
  await memory();
  await interrupted();
} finally {
  await manager.disconnect();
  await server.stop();
}
