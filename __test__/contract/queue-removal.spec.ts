/** Jobs that are removed while they wait: nothing of them stays, and nobody waits for them. */
import type { TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { gate, reaches, useQueues } from '../support/queues.ts';
import { stretched } from '../support/starvation.ts';

describeBackends('removed jobs', (backend) => {
  const queues = useQueues(backend);

  test.each([100, 5_000])('%i of them hold up no worker', async (removed) => {
    const queue = queues.queue<number>();
    const jobs = await queue.addBulk(Array.from({ length: removed + 10 }, (_, data) => ({ name: 'x', data })));
    await Promise.all(jobs.slice(0, removed).map((job) => job.remove()));
    const last = jobs.at(-1);
    const started = Date.now();
    queue.process(() => null);
    await last?.waitUntilFinished();
    // Far sooner than a worker looks by itself.
    expect(Date.now() - started).toBeLessThan(stretched(1_500));
    await reaches(queue as TaskQueue, { completed: 10, waiting: 0 });
  });

  test('of groups hold up no worker', async () => {
    const queue = queues.queue<number>();
    const jobs = await queue.addBulk(Array.from({ length: 3_000 }, (_, data) => ({ name: 'x', data })));
    await queue.addBulk(Array.from({ length: 5 }, (_, data) => ({ name: 'x', data, options: { group: 'g' } })));
    await Promise.all(jobs.map((job) => job.remove()));
    const last = await queue.add('x', 1);
    queue.process(() => null);
    const started = Date.now();
    await last.waitUntilFinished();
    expect(Date.now() - started).toBeLessThan(stretched(1_500));
    await reaches(queue as TaskQueue, { completed: 6, waiting: 0 });
  });

  test('a drained queue has none left of a group that was full', async () => {
    const queue = queues.queue<number>();
    const { opened, open } = gate();
    queue.process(() => opened, { concurrency: 5, groupConcurrency: 1 });
    const add = (group: string, count: number) =>
      queue.addBulk(Array.from({ length: count }, (_, data) => ({ name: 'x', data, options: { group } })));
    const [, waiting] = await add('a', 2);
    await add('b', 3);
    await reaches(queue as TaskQueue, { active: 2, waiting: 3 });
    // With its last waiting job a full group is none that waits any more.
    await waiting?.remove();
    expect(await queue.drain()).toBe(2);
    expect((await queue.counts()).waiting).toBe(0);
    open();
  });

  test('an obliterated queue of many groups leaves no key, and serves those groups again', async () => {
    const queue = queues.queue<number>();
    const options = (n: number) => ({ group: `g${n}`, dedupe: { id: `d${n}`, ttlMs: n % 2 ? 3_600_000 : undefined } });
    await queue.addBulk(Array.from({ length: 15_000 }, (_, data) => ({ name: 'x', data, options: options(data) })));
    await queue.obliterate();
    expect(await backend.manager().command('KEYS', `${backend.namespace}*`)).toEqual([]);
    queue.process((job) => job.data);
    expect(await (await queue.add('x', 7, options(7))).waitUntilFinished()).toBe(7);
  });

  test('a refused obliterate leaves a paused queue paused', async () => {
    const queue = queues.queue();
    const { opened, open } = gate();
    queue.process(() => opened);
    await queue.add('x', 1);
    await reaches(queue as TaskQueue, { active: 1 });
    for (const paused of [true, false]) {
      await (paused ? queue.pause() : queue.resume());
      expect((await failureOf(queue.obliterate())).redisErrorKind).toBe('config');
      expect(await queue.isPaused()).toBe(paused);
    }
    open();
  });
});
