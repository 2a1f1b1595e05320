/** Limits that hold for all workers of a queue together. */
import type { TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { gate, reaches, useQueues } from '../support/queues.ts';
import { stretched } from '../support/starvation.ts';
import { until } from '../support/until.ts';

describeBackends('limits of the fleet', (backend) => {
  const queues = useQueues(backend);

  test('a rate limit holds for all workers together', async () => {
    const fleet = [queues.queue(), queues.queue()];
    const starts: number[] = [];
    for (const queue of fleet) {
      queue.process((job) => void starts.push(job.startedAt as number), { concurrency: 10, rateLimit: { max: 5, perMs: 300 } });
    }
    await fleet[0]?.addBulk(Array.from({ length: 18 }, (_, data) => ({ name: 'x', data })));
    await reaches(fleet[0] as TaskQueue, { completed: 18 });
    starts.sort((a, b) => a - b);
    for (let i = 5; i < starts.length; i++) expect((starts[i] as number) - (starts[i - 5] as number)).toBeGreaterThanOrEqual(300);
    expect((starts[17] as number) - (starts[0] as number)).toBeLessThan(stretched(5_000));
  });

  test('a worker holds as many jobs as its concurrency allows, thousands too, and gives them all back', async () => {
    const queue = queues.queue();
    await queue.addBulk(Array.from({ length: 6_000 }, (_, data) => ({ name: 'x', data })));
    const held: unknown[] = [];
    const { opened, open } = gate();
    const worker = queue.process(
      async (job) => {
        held.push(job.data);
        await opened;
      },
      { concurrency: 5_000 },
    );
    await until(() => held.length === 5_000, { what: 'as many jobs as may run' });
    expect(await queue.counts()).toMatchObject({ waiting: 1_000, active: 5_000 });
    expect(await worker.close({ graceMs: 0 })).toBe(false);
    expect(await queue.counts()).toMatchObject({ waiting: 6_000, active: 0 });
    expect(held).toEqual(Array.from({ length: 5_000 }, (_, n) => n));
    open();
  });

  test('groups are served in turn, and at most groupConcurrency of each at once', async () => {
    const queue = queues.queue<string>();
    for (let n = 0; n < 6; n++) await queue.add('x', 'many', { group: 'many' });
    await queue.add('x', 'few', { group: 'few' });
    await queue.add('x', 'none');
    const order: string[] = [];
    const one = queue.process((job) => void order.push(job.data));
    await reaches(queue as TaskQueue, { completed: 8 });
    await one.close();
    // The three are in turn, so that the few and the groupless one are not behind all of the many.
    expect(order.indexOf('few')).toBeLessThan(4);
    expect(order.indexOf('none')).toBeLessThan(4);

    const inHand: Record<string, number> = {};
    const most: Record<string, number> = {};
    const fleet = [queues.queue<string>(), queues.queue<string>()];
    for (const each of fleet) {
      each.process(
        async (job) => {
          inHand[job.data] = (inHand[job.data] ?? 0) + 1;
          most[job.data] = Math.max(most[job.data] ?? 0, inHand[job.data] as number);
          await new Promise((resolve) => setTimeout(resolve, 5));
          inHand[job.data] = (inHand[job.data] as number) - 1;
        },
        { concurrency: 10, groupConcurrency: 2 },
      );
    }
    await queue.addBulk(Array.from({ length: 60 }, (_, n) => ({ name: 'x', data: `g${n % 3}`, options: { group: `g${n % 3}` } })));
    await reaches(queue as TaskQueue, { completed: 68 });
    expect(most).toEqual({ g0: 2, g1: 2, g2: 2 });
  });

  test('drained is told when the last job of a group that had to wait was taken', async () => {
    const queue = queues.queue<number>();
    let ran = 0;
    const drained: number[] = [];
    await queue.on('drained', () => drained.push(ran)).ready();
    await queue.addBulk([1, 2, 3].map((data) => ({ name: 'x', data, options: { group: 'g' } })));
    queue.process(
      async () => {
        await new Promise(setImmediate);
        ran += 1;
      },
      { concurrency: 5, groupConcurrency: 1 },
    );
    await until(() => ran === 3 && drained.length > 0, { what: 'the last job' });
    expect(drained.length).toBe(1);
    expect(drained[0]).toBeGreaterThanOrEqual(2);
  });
});
