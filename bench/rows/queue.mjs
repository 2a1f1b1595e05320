/**
 * Task queues: adding one by one, at 64 in flight and in bulk; processing at concurrency 1, 10 and 50; each on an empty queue and behind
 * 100 000 and a million jobs that wait. A job has 100 bytes of JSON; processors return at once.
 */
import { saturate } from "../harness/load.mjs";
import { ratio } from "../harness/targets.mjs";
import { configurations, keepingConfigurations } from "./queue-clients.mjs";

const BULK = 1_000;
const QUICK_SHARE = 0.01;
/** Jobs of one sample of processing, by concurrency: some seconds of BullMQ's. */
const PROCESSED = { 1: 4_000, 10: 20_000, 50: 40_000 };
/** A sample is over at the latest after this. */
const LIMIT_MS = 60_000;
/** Jobs of the row that weighs them. */
const WEIGHED = 100_000;

const BACKLOGS = [
  { jobs: 0, infix: "", title: "" },
  { jobs: 100_000, infix: "at-100k-", title: ", 100 000 waiting" },
  { jobs: 1_000_000, infix: "at-1m-", title: ", 1 000 000 waiting" },
];

const perSecond = { key: "perSecond", title: "jobs/s", better: "higher", digits: 0 };
const cpuMicros = { key: "cpuMicros", title: "CPU µs/job", better: "lower", digits: 2 };
const rssMiB = { key: "rssMiB", title: "RSS MiB", better: "lower", digits: 0 };
const metrics = [perSecond, cpuMicros, rssMiB];

/** 100 bytes as JSON each; made beforehand, since making them would be a good part of the time of adding them. */
const DATA = Array.from({ length: 10_000 }, (_, n) => {
  const data = { n, to: `user-${String(n).padStart(5, "0")}@example.org`, text: "" };
  data.text = "t".repeat(100 - JSON.stringify(data).length);
  return data;
});
const dataOf = (n) => DATA[n % DATA.length];

async function fill(client, count) {
  for (let from = 0; from < count; from += 10 * BULK) {
    const many = Math.min(10 * BULK, count - from);
    await client.addBulk(Array.from({ length: many }, (_, n) => dataOf(from + n)));
  }
}

/** Adds for a window, then takes away what it added: that the queue grows by itself is not what is measured. */
async function sampleAdding(client, backlog, context, inFlight, perCall) {
  let serial = 0;
  const issue =
    perCall === 1
      ? () => client.add(dataOf(serial++))
      : () => client.addBulk(Array.from({ length: perCall }, () => dataOf(serial++)));
  const figures = await saturate({ ...context, inFlight, span: 1, issue, check: checkAdded });
  const { waiting } = await client.counts();
  if (waiting !== backlog + serial) throw new Error(`${backlog + serial} jobs were to wait, ${waiting} do`);
  if (backlog === 0) await client.empty();
  return { ...figures, perSecond: figures.perSecond * perCall, cpuMicros: figures.cpuMicros / perCall, added: serial };
}

function checkAdded(added) {
  const one = Array.isArray(added) ? added.at(-1) : added;
  if (!one?.id) throw new Error(`no job was given: ${JSON.stringify(added)?.slice(0, 100)}`);
}

/** Works on `count` jobs; from the first to the last of them. */
async function sampleProcessing(client, concurrency, count) {
  await fill(client, count);
  let done = 0;
  let began;
  const figures = await new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`${done} of ${count} jobs were done in ${LIMIT_MS} ms`)), LIMIT_MS);
    const worker = client.work(concurrency, (data) => {
      if (typeof data.n !== "number") throw new Error("a job without its data");
      began ??= { time: performance.now(), cpu: process.cpuUsage() };
      done++;
      if (done !== count) return;
      const elapsedMs = performance.now() - began.time;
      const cpu = process.cpuUsage(began.cpu);
      clearTimeout(limit);
      resolve({ worker, perSecond: (count / elapsedMs) * 1000, cpuMicros: (cpu.user + cpu.system) / count });
    });
    worker.on("error", (error) => reject(error));
  });
  const { worker, ...rest } = figures;
  await worker.close();
  return { ...rest, rssMiB: process.memoryUsage.rss() / 2 ** 20, done };
}

const share = (context) => (context.quick ? QUICK_SHARE : 1);

function contestantsOf(backlog, sample) {
  return configurations.map((configuration) => ({
    ...configuration,
    async open(context) {
      const client = await configuration.connect(context.endpoint, context.packageDirectory);
      let waiting = Math.round(backlog * share(context));
      await fill(client, waiting);
      return {
        async sample() {
          const { change, figures } = await sample(client, waiting, context);
          if (waiting > 0) waiting += change;
          return figures;
        },
        close: () => client.close(),
      };
    },
  }));
}

const addRow = (name, title, inFlight, perCall, targets, backlog) => ({
  name: `queue-${backlog.infix}${name}`,
  title: `task queue: ${title}${backlog.title}`,
  metrics,
  targets: backlog.jobs === 0 ? targets : [],
  maxRounds: backlog.jobs === 0 ? Infinity : 3,
  contestants: contestantsOf(backlog.jobs, async (client, waiting, context) => {
    const { added, ...figures } = await sampleAdding(client, waiting, context, inFlight, perCall);
    return { change: added, figures };
  }),
});

const processRow = (concurrency, targets, backlog) => ({
  name: `queue-${backlog.infix}process-${concurrency}`,
  title: `task queue: process at concurrency ${concurrency}${backlog.title}`,
  metrics,
  targets: backlog.jobs === 0 ? targets : [],
  maxRounds: backlog.jobs === 0 ? Infinity : 3,
  contestants: contestantsOf(backlog.jobs, async (client, _waiting, context) => {
    const count = Math.max(500, Math.round(PROCESSED[concurrency] * (context.quick ? 0.1 : 1)));
    const { done, ...figures } = await sampleProcessing(client, concurrency, count);
    return { change: count - done, figures };
  }),
});

const atLeast = (times) => [ratio({ metric: "perSecond", against: "any", atLeast: times })];

const kinds = [
  (backlog) => addRow("add-1", "add one by one", 1, 1, atLeast(1.2), backlog),
  (backlog) => addRow("add-64", "add, 64 in flight", 64, 1, atLeast(2.5), backlog),
  (backlog) => addRow("bulk", "add in bulk, 1 000 a call", 1, BULK, atLeast(8), backlog),
  (backlog) => processRow(1, atLeast(2), backlog),
  (backlog) => processRow(10, atLeast(2.5), backlog),
  (backlog) => processRow(50, atLeast(2.5), backlog),
];

/** Our own cost behind a million waiting and a million kept jobs, against ours on an empty queue. */
const FULL = [
  { configuration: "empty", jobs: 0 },
  { configuration: "1 000 000 waiting, 1 000 000 kept", jobs: 1_000_000 },
];

const itself = {
  metric: "perSecond",
  judge(standings) {
    const [empty, full] = standings;
    const bound = "≤ 1.3×";
    const label = "cost behind a million waiting and a million kept / empty";
    if (!empty?.summary || !full?.summary) return { metric: "perSecond", label, bound, verdict: "unknown" };
    const value = empty.summary.perSecond.median / full.summary.perSecond.median;
    return { metric: "perSecond", label, bound, value, unit: "×", verdict: value <= 1.3 ? "met" : "missed" };
  },
};

const fullRow = {
  name: "queue-full",
  title: "task queue: process at concurrency 10, a million waiting and a million kept against empty",
  metrics,
  targets: [itself],
  contestants: FULL.map(({ configuration, jobs }, index) => ({
    client: "ours",
    configuration,
    isDefault: true,
    async open(context) {
      const keeping = keepingConfigurations[0];
      const client = await keeping.connect(context.endpoint, context.packageDirectory, 6 + index);
      const count = Math.round(jobs * share(context));
      if (count > 0) {
        await sampleProcessing(client, 50, count);
        await fill(client, count);
      }
      const processed = Math.max(500, Math.round(PROCESSED[10] * (context.quick ? 0.1 : 1)));
      return {
        async sample() {
          const { done, ...figures } = await sampleProcessing(client, 10, processed);
          if (done > processed) await fill(client, done - processed);
          return figures;
        },
        close: () => client.close(),
      };
    },
  })),
};

/** Bytes of Redis memory for a job that waits, and for one that has completed and is kept. */
const memoryRow = {
  name: "queue-memory",
  title: "task queue: Redis memory per job of 100 bytes",
  metrics: [
    { key: "waitingBytes", title: "bytes waiting", better: "lower", digits: 0 },
    { key: "completedBytes", title: "bytes completed", better: "lower", digits: 0 },
  ],
  targets: [
    ratio({ metric: "waitingBytes", against: "any", atMost: 1 }),
    ratio({ metric: "completedBytes", against: "any", atMost: 1 }),
  ],
  maxRounds: 2,
  contestants: keepingConfigurations.map((configuration) => ({
    ...configuration,
    async open(context) {
      const client = await configuration.connect(context.endpoint, context.packageDirectory);
      const count = Math.round(WEIGHED * (context.quick ? 0.05 : 1));
      return {
        async sample() {
          const before = await client.usedMemory();
          await fill(client, count);
          const waitingBytes = ((await client.usedMemory()) - before) / count;
          const worked = await sampleProcessing({ ...client, addBulk: async () => {} }, 50, count);
          if (worked.done !== count) throw new Error(`${worked.done} jobs were done of ${count}`);
          const { completed } = await client.counts();
          if (completed !== count) throw new Error(`${completed} jobs are kept of ${count}`);
          const completedBytes = ((await client.usedMemory()) - before) / count;
          await client.empty();
          return { waitingBytes, completedBytes };
        },
        close: () => client.close(),
      };
    },
  })),
};

export const rows = [...BACKLOGS.flatMap((backlog) => kinds.map((kind) => kind(backlog))), fullRow, memoryRow];
