/**
 * Task queues of this package and of BullMQ, each behind the same five acts. Each configuration has a Redis database of its own, so that it
 * can be emptied without a word to the others.
 */
import { createRequire } from "node:module";
import { packageEntry } from "../clients/ours.mjs";

const require = createRequire(import.meta.url);
const NAME = "bench";

/**
 * What a configuration's `connect` gives:
 *
 * - `add(data)`: adds one job; gives its promise.
 * - `addBulk(list)`: adds a job for each.
 * - `work(concurrency, processor)`: a worker that calls `processor(data)` and awaits it; gives `{ close() }`.
 * - `counts()`: `{ waiting, completed }`.
 * - `usedMemory()`: bytes that Redis uses for everything.
 * - `empty()`: removes everything of this configuration.
 * - `close()`.
 */
async function connectOurs(db, jobOptions, endpoint, packageDirectory) {
  const { RedisConnectionManager, TaskQueue } = require(packageEntry(packageDirectory));
  const manager = new RedisConnectionManager({ ...endpoint, db });
  await manager.connect();
  const queue = new TaskQueue(NAME, manager, { defaultJobOptions: jobOptions });
  return {
    add: (data) => queue.add("job", data),
    addBulk: (list) => queue.addBulk(list.map((data) => ({ name: "job", data }))),
    work: (concurrency, processor) => queue.process((job) => processor(job.data), { concurrency }),
    counts: () => queue.counts(),
    usedMemory: async () => usedMemoryIn(await manager.command("INFO", "memory")),
    empty: () => manager.command("FLUSHDB"),
    async close() {
      await queue.close();
      await manager.disconnect();
    },
  };
}

async function connectBullMQ(db, jobOptions, endpoint) {
  const { Queue, Worker } = require("bullmq");
  const Redis = require("ioredis");
  const connection = { ...endpoint, db };
  const queue = new Queue(NAME, { connection, defaultJobOptions: jobOptions });
  await queue.waitUntilReady();
  const redis = new Redis(connection);
  return {
    add: (data) => queue.add("job", data),
    addBulk: (list) => queue.addBulk(list.map((data) => ({ name: "job", data }))),
    work: (concurrency, processor) => new Worker(NAME, (job) => processor(job.data), { connection, concurrency }),
    counts: () => queue.getJobCounts("waiting", "completed"),
    usedMemory: async () => usedMemoryIn(await redis.info("memory")),
    empty: () => redis.flushdb(),
    async close() {
      await queue.close();
      redis.disconnect();
    },
  };
}

const usedMemoryIn = (info) => Number(/used_memory:(\d+)/.exec(info)[1]);

/** In their defaults ours keeps the 1 000 newest completed jobs, BullMQ all of them. */
export const configurations = [
  {
    client: "ours",
    configuration: "defaults",
    isDefault: true,
    connect: (endpoint, directory) => connectOurs(1, {}, endpoint, directory),
  },
  {
    client: "bullmq",
    configuration: "defaults",
    isDefault: true,
    connect: (endpoint) => connectBullMQ(2, {}, endpoint),
  },
  {
    client: "bullmq",
    configuration: "finished jobs removed",
    isDefault: false,
    connect: (endpoint) => connectBullMQ(3, { removeOnComplete: true, removeOnFail: true }, endpoint),
  },
];

/** Every finished job stays, for what a job costs in Redis. */
export const keepingConfigurations = [
  {
    client: "ours",
    configuration: "every job kept",
    isDefault: true,
    connect: (endpoint, directory, db = 4) =>
      connectOurs(db, { keepCompleted: true, keepFailed: true }, endpoint, directory),
  },
  {
    client: "bullmq",
    configuration: "every job kept",
    isDefault: true,
    connect: (endpoint) => connectBullMQ(5, {}, endpoint),
  },
];
