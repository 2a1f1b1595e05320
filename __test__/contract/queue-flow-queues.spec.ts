/** Children in other queues: added once, and heard of whatever becomes of them. */
import type { JobOptions, TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

describeBackends('children in other queues', (backend) => {
  const queues = useQueues(backend);
  const elsewhere = (count: number, options?: JobOptions) =>
    Array.from({ length: count }, (_, data) => ({ queue: 'other', name: 'child', data, options }));

  test('are added and reported in a few calls, however many there are', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    queue.process(() => 'done');
    other.process(() => null, { concurrency: 100 });
    const executed = async () =>
      Number(/total_commands_processed:(\d+)/.exec(String(await backend.server?.cli('INFO', 'stats')))?.[1] ?? 0);
    for (const count of [40, 3_000]) {
      const before = await executed();
      const parent = await queue.add('parent', 1, { children: elsewhere(count) });
      expect(await parent.waitUntilFinished()).toBe('done');
      // Those of scripts are counted too.
      expect((await executed()) - before).toBeLessThan(count * 15 + 500);
    }
  });

  test('reach ten thousand, with nobody at work', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    const parent = await queue.add('parent', 1, { children: elsewhere(10_000) });
    await until(async () => (await other.counts()).waiting === 10_000, { what: 'the children', timeoutMs: 30_000 });
    expect(await other.drain()).toBe(10_000);
    // Removed they are not waited for, and the parent hears so though no worker of either queue runs.
    await until(async () => (await parent.refresh())?.state === 'waiting', { what: 'the parent', timeoutMs: 30_000 });
  });

  test('that are not kept run once', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    const ran = new Map<string, number>();
    other.process((job) => void ran.set(job.id, (ran.get(job.id) ?? 0) + 1), { concurrency: 50 });
    queue.process(() => null, { concurrency: 50 });
    const parents = await Promise.all(
      Array.from({ length: 50 }, () => queue.add('parent', 1, { children: elsewhere(3, { keepCompleted: false }) })),
    );
    await Promise.all(parents.map((parent) => parent.waitUntilFinished()));
    expect([...ran.values()]).toEqual(Array.from({ length: 150 }, () => 1));
  });

  test('whose message was delivered, but could not be deleted, run once', async () => {
    const [queue, other] = [queues.queue(), queues.queue<number>('other')];
    const manager = backend.manager();
    const outbox = `${backend.namespace}:~queue:{work}:outbox`;
    const message = JSON.stringify({ t: 'add', q: 'other', jobs: [['id', '1 23 0 0\nx{"keepCompleted":false}7', {}]] });
    const ran: unknown[] = [];
    other.process((job) => void ran.push(job.data));
    queue.process(() => null, { leaseMs: 1_000 });
    for (let crash = 0; crash < 3; crash++) {
      await manager.command('HSET', outbox, 'a-message', message);
      await until(async () => (await manager.command('EXISTS', outbox)) === 0, { what: 'the message to be delivered' });
      await reaches(other as TaskQueue, { waiting: 0, active: 0 });
    }
    expect(ran).toEqual([7]);
  });

  test('of two parents under one id are one job that both wait for', async () => {
    const [queue, other] = [queues.queue(), queues.queue<number, string>('other')];
    const children = [{ queue: 'other', name: 'child', data: 1, options: { id: 'shared' } }];
    const parents = await Promise.all([1, 2, 3].map((data) => queue.add('parent', data, { children })));
    await reaches(other as TaskQueue, { waiting: 1 });
    expect((await queue.counts())['waiting-children']).toBe(3);
    queue.process((_, context) => context.children());
    other.process(() => 'result');
    const results = await Promise.all(parents.map((parent) => parent.waitUntilFinished()));
    expect(results).toEqual([1, 2, 3].map(() => ({ 'other:shared': 'result' })));
    // One more, now that it has completed.
    const late = await queue.add('parent', 4, { children });
    expect(await late.waitUntilFinished()).toEqual({ 'other:shared': 'result' });
  });

  test('that are the same job are that job for each, and for a parent that is added again', async () => {
    const [queue, other] = [queues.queue(), queues.queue<number, string>('other')];
    other.process(() => 'result');
    queue.process((_, context) => context.children());
    const one = { queue: 'other', name: 'child', data: 1, options: { dedupe: { id: 'd' } } };
    const twice = await queue.add('parent', 1, { children: [one, one] });
    expect(Object.values((await twice.waitUntilFinished()) as object)).toEqual(['result', 'result']);
    for (const child of [
      { ...one, options: { id: 'x' } },
      { name: 'child', data: 2, options: { id: 'y' } },
    ]) {
      for (let round = 0; round < 3; round++) {
        const parent = await queue.add('parent', 1, { id: 'again', keepCompleted: false, children: [child] });
        expect(Object.keys((await parent.waitUntilFinished()) as object).length).toBe(1);
      }
    }
  });

  test('that could not be added are added once they can be, and hold up no others', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    const manager = backend.manager();
    const mark = `${backend.namespace}:~queue:{other}:once:bad`;
    await manager.command('RPUSH', mark, 'no string');
    const parents = await Promise.all(
      Array.from({ length: 30 }, (_, data) => {
        const options = data === 20 ? { dedupe: { id: 'bad' } } : {};
        return queue.add('parent', data, { children: [{ queue: 'other', name: 'child', data, options }] });
      }),
    );
    await reaches(other as TaskQueue, { waiting: 29 });
    await manager.command('DEL', mark);
    queue.process(() => null, { leaseMs: 1_000 });
    other.process(() => null);
    await Promise.all(parents.map((parent) => parent.waitUntilFinished()));
    expect((await other.counts()).completed).toBe(30);
  });

  test('that are cancelled or removed tell their parent at once, with no worker there', async () => {
    const [queue, other] = [queues.queue(), queues.queue('other')];
    const child = (id: string) => [{ queue: 'other', name: 'child', data: 1, options: { id } }];
    const cancelled = await queue.add('parent', 1, { children: child('cancelled') });
    const removed = await queue.add('parent', 1, { children: child('removed') });
    await reaches(other as TaskQueue, { waiting: 2 });
    expect(await (await other.getJob('cancelled'))?.cancel('not wanted')).toBe(true);
    expect(await (await other.getJob('removed'))?.remove()).toBe(true);
    await until(async () => (await cancelled.refresh())?.state === 'failed', { what: 'the parent of the cancelled one' });
    expect(cancelled.failedReason).toBe('child other:cancelled failed: not wanted');
    await until(async () => (await removed.refresh())?.state === 'waiting', { what: 'the parent of the removed one' });
  });

  test('may be in many queues after one another, and not in any number', async () => {
    const nest = (depth: number): JobOptions => ({
      children: [{ queue: `level-${depth}`, name: 'x', data: depth, options: depth > 1 ? nest(depth - 1) : {} }],
    });
    const queue = queues.queue();
    for (let level = 1; level <= 16; level++) queues.queue(`level-${level}`).process(() => level);
    queue.process((_, context) => context.children());
    const parent = await queue.add('parent', 1, nest(16));
    expect(Object.values((await parent.waitUntilFinished()) as object)).toEqual([16]);
    const error = await failureOf(queue.add('parent', 1, nest(17)));
    expect(error).toMatchObject({ redisErrorKind: 'config', message: expect.stringContaining('at most 16 queues after one another') });
  });
});
