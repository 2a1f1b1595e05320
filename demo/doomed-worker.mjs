/** A worker that takes a job and never ends it: a thread of the demo on memory://, a process of its own on a server. */
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { RedisConnectionManager, TaskQueue } from 'redis-backplane';

const config = isMainThread ? JSON.parse(process.argv[2]) : workerData;
const tell = (line) => (isMainThread ? process.send(line) : parentPort.postMessage(line));
const queue = new TaskQueue('reports', new RedisConnectionManager(config));
queue.process(
  async (job) => {
    await job.updateProgress('half of it');
    tell(job.id);
    await new Promise(() => {});
  },
  { leaseMs: 1_000 },
);
