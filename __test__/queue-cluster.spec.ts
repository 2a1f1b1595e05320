/** The task queue on a Redis Cluster: all keys of one queue are of one slot, those of two need not be. */
import { RedisConnectionManager, TaskQueue } from 'redis-backplane';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { record } from './support/queues.ts';
import { type RedisServer, startCluster } from './support/redis-server.ts';
import { until } from './support/until.ts';

let nodes: RedisServer[];
let manager: RedisConnectionManager;
beforeAll(async () => {
  nodes = await startCluster(3);
}, 60_000);
afterAll(async () => {
  for (const node of nodes) await node[Symbol.asyncDispose]();
});
beforeEach(() => {
  manager = new RedisConnectionManager({ url: `redis+cluster://127.0.0.1:${nodes[0]?.port}`, namespace: 'app' });
});
afterEach(() => manager.disconnect());

it('adds, works, tells and cleans up, in queues of every slot', async () => {
  const queues = Array.from({ length: 9 }, (_, n) => new TaskQueue<unknown, unknown>(`queue-${n}`, manager));
  await Promise.all(
    queues.map(async (queue, n) => {
      const heard = await record(queue);
      const worker = queue.process(
        async (job, { attempt }) => {
          if (job.data === 'flaky' && attempt === 1) throw new Error('again');
          await job.updateProgress(1);
          return job.data;
        },
        { concurrency: 5 },
      );
      await queue.addBulk(Array.from({ length: 50 }, (_, data) => ({ name: 'x', data })));
      const flaky = await queue.add('x', 'flaky', { attempts: 2, backoff: { type: 'fixed', delayMs: 20 } });
      expect(await flaky.waitUntilFinished()).toBe('flaky');
      const delayed = await queue.add('x', 'delayed', { delayMs: 50 });
      expect(await delayed.waitUntilFinished()).toBe('delayed');
      await queue.schedule('s', { everyMs: 100 }, { name: 'x', data: 'tick' });
      await until(async () => ((await queue.schedules())[0]?.ticks ?? 0) >= 2, { what: 'two ticks' });
      await queue.unschedule('s');
      await until(() => heard.filter(({ type }) => type === 'completed').length >= 54, { what: 'the events' });
      // The children are of the next queue, which is on another node for some.
      const other = `queue-${(n + 1) % queues.length}`;
      const parent = await queue.add('parent', n, {
        children: [
          { queue: other, name: 'child', data: n },
          { name: 'child', data: n },
        ],
      });
      expect(await parent.waitUntilFinished()).toBe(n);
      expect(worker.isRunning()).toBe(true);
    }),
  );
  const keys = (await Promise.all(nodes.map((node) => node.keys()))).map((of) => of.length);
  for (const count of keys) expect(count).toBeGreaterThan(0);
  // A child's queue is worked on until its parent, elsewhere, has heard of it.
  for (const queue of queues) {
    await queue.close();
    expect((await new TaskQueue(queue.name, manager).counts()).active).toBe(0);
  }
});
