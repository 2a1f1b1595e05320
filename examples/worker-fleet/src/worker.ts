/** One worker of the fleet. Start as many of these processes as you like: `node dist/src/worker.js`. */

import { createContainer, shutdownOnSignals } from 'redis-backplane';

export interface Picture {
  name: string;
  renderMs: number;
}

const redis = await createContainer({
  namespace: 'studio', // the URL is that of REDIS_URL
  registry: { heartbeatIntervalMs: 500, degradedAfterMs: 1_500, crashedAfterMs: 3_000 }, // an impatient fleet; the defaults notice a crash after 35 s
});
redis.getQueue<Picture, string>('pictures').process(
  async (job, { signal }) => {
    console.log(`rendering ${job.data.name}, attempt ${job.attemptsMade + 1}, after ${job.stalledCount} crashes`);
    await render(job.data, signal);
    return `${job.data.name}.png by ${process.pid}`;
  },
  // In the registry the fleet sees this worker, its load and its health; when it is declared crashed, its jobs go to others at once.
  { concurrency: 2, registry: redis.getRegistry(), maxStalls: 3 },
);
shutdownOnSignals(redis);
console.log('ready');

/** Stands for real work. It stops when the signal is aborted: then the job is somebody else's. */
function render({ renderMs }: Picture, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, renderMs);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
