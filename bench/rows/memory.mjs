/**
 * What a million commands leave behind in one process. Each sample is a fresh process: 200 000 commands
 * to warm up, a collection, the baseline; then half a million, a collection, another half million, a collection.
 * Growth is the difference of resident memory to the baseline; it includes native memory and what V8 has not given back.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { configurations } from "../clients/index.mjs";
import { complete } from "../harness/load.mjs";
import { limit, noMoreThan } from "../harness/targets.mjs";
import { SPAN, seed, work } from "./keyspace.mjs";

const MIB = 1024 * 1024;
const IN_FLIGHT = 1000;
const COMMANDS = 1_000_000;
const WARM_COMMANDS = 200_000;
const QUICK_SHARE = 0.1;
/** Resident memory of an idle Node process moves by about this much between two looks. */
const SLACK_MIB = 2;
/** For what is freed on other threads and by timers to be freed. */
const SETTLE_MS = 300;

async function memoryAfterCollection() {
  await sleep(SETTLE_MS);
  globalThis.gc();
  globalThis.gc();
  await sleep(SETTLE_MS);
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss: rss / MIB, heap: (heapUsed + external) / MIB };
}

async function growth(client, share) {
  const reads = work["raw-get"](client);
  const writes = work["raw-set"](client);
  // Reads and writes in turn, two of each key.
  const parts = {
    inFlight: IN_FLIGHT,
    span: 2 * SPAN,
    issue: (n) => (n % 2 === 0 ? reads : writes).issue(n >> 1),
    check: (reply, n) => (n % 2 === 0 ? reads : writes).check(reply, n >> 1),
  };
  await complete({ ...parts, count: WARM_COMMANDS * share });
  const baseline = await memoryAfterCollection();
  await complete({ ...parts, count: (COMMANDS * share) / 2 });
  const half = await memoryAfterCollection();
  await complete({ ...parts, count: (COMMANDS * share) / 2 });
  const end = await memoryAfterCollection();
  return {
    growthMiB: end.rss - baseline.rss,
    secondHalfMiB: end.rss - half.rss,
    heapGrowthMiB: end.heap - baseline.heap,
    endMiB: end.rss,
    peakMiB: process.resourceUsage().maxRSS / 1024,
  };
}

export const rows = [
  {
    name: "memory",
    title: "memory growth over a million raw GETs and SETs, 1000 in flight",
    metrics: [
      { key: "growthMiB", title: "RSS growth MiB", better: "lower", digits: 2, isAroundZero: true },
      { key: "secondHalfMiB", title: "in 2nd half", better: "lower", digits: 2 },
      { key: "heapGrowthMiB", title: "JS heap growth", better: "lower", digits: 2 },
      { key: "endMiB", title: "RSS at end", better: "lower", digits: 0 },
      { key: "peakMiB", title: "peak RSS", better: "lower", digits: 0 },
    ],
    targets: [
      noMoreThan({ metric: "growthMiB", unit: "MiB", peer: "ioredis", slack: SLACK_MIB }),
      limit({ metric: "secondHalfMiB", unit: "MiB", atMost: SLACK_MIB }),
    ],
    isFresh: true,
    maxRounds: 3,
    contestants: configurations.map((configuration) => ({
      ...configuration,
      async open(context) {
        const client = await configuration.connect(context.endpoint, context.packageDirectory);
        await seed(client, "raw-get");
        return { sample: () => growth(client, context.quick ? QUICK_SHARE : 1), close: () => client.close() };
      },
    })),
  },
];
