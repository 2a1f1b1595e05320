/** A worker that takes a job and never ends it. */
import { RedisConnectionManager, TaskQueue } from 'redis-backplane';
import { config, tell } from './child.mjs';

const queue = new TaskQueue('reports', new RedisConnectionManager(config));
queue.process(
  async (job) => {
    await job.updateProgress('half of it');
    tell(job.id);
    await new Promise(() => {});
  },
  { leaseMs: 1_000 },
);
