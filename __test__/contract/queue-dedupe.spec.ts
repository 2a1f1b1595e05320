/** Dedupe ids: no second job while the first is not over, or within a time. */
import type { TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { gate, reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

const EMPTY = { waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0, 'waiting-children': 0 };

describeBackends('dedupe', (backend) => {
  const queues = useQueues(backend);

  test('gives the job that is not over instead of a second one', async () => {
    const queue = queues.queue<number>();
    const first = await queue.add('x', 1, { dedupe: { id: 'd' } });
    const second = await queue.add('y', 2, { dedupe: { id: 'd' } });
    expect([second.id, second.name, second.data]).toEqual([first.id, 'x', 1]);
    await queue.add('x', 3, { dedupe: { id: 'e' } });
    expect(await queue.counts()).toEqual({ ...EMPTY, waiting: 2 });
    queue.process(() => {});
    await reaches(queue as TaskQueue, { completed: 2 });
    expect((await queue.add('x', 4, { dedupe: { id: 'd' } })).id).not.toBe(first.id);
  });

  test('replaces the one that waits, where that is asked for', async () => {
    const queue = queues.queue<number>();
    await queue.add('x', 1, { dedupe: { id: 'd' }, delayMs: 3_600_000 });
    const second = await queue.add('y', 2, { dedupe: { id: 'd', replace: true }, delayMs: 3_600_000 });
    expect([second.name, second.data]).toEqual(['y', 2]);
    expect(await queue.counts()).toEqual({ ...EMPTY, delayed: 1 });
    expect((await queue.list('delayed')).map((job) => [job.name, job.data])).toEqual([['y', 2]]);
  });

  test('lasts for its ttlMs', async () => {
    const queue = queues.queue<number>();
    const first = await queue.add('x', 1, { dedupe: { id: 'd', ttlMs: 3_600_000 } });
    queue.process(() => {});
    await reaches(queue as TaskQueue, { completed: 1 });
    expect((await queue.add('x', 2, { dedupe: { id: 'd', ttlMs: 3_600_000 } })).id).toBe(first.id);
    const short = await queue.add('x', 3, { dedupe: { id: 'e', ttlMs: 20 } });
    await until(async () => (await queue.add('x', 4, { dedupe: { id: 'e', ttlMs: 20 } })).id !== short.id, { what: 'the ttl to pass' });
  });

  test('lasts for its ttlMs also where the job is over and was not kept', async () => {
    const queue = queues.queue<number>();
    let runs = 0;
    queue.process((job) => {
      runs += 1;
      if (job.name === 'bad') throw new Error('bad');
    });
    const options = { dedupe: { id: 'd', ttlMs: 3_600_000 }, keepCompleted: false, keepFailed: false };
    for (const [name, state] of [
      ['good', 'completed'],
      ['bad', 'failed'],
    ] as const) {
      const dedupe = { ...options.dedupe, id: name };
      const first = await queue.add(name, 1, { ...options, dedupe });
      await until(async () => (await queue.getJob(first.id)) === null, { what: 'the job to be done and gone' });
      const again = await queue.add('again', 2, { ...options, dedupe });
      expect([again.id, again.state, again.name, again.data, again.result]).toEqual([first.id, state, 'again', 2, undefined]);
    }
    expect(runs).toBe(2);
  });

  test('lasts longer than its ttlMs while the job is not over', async () => {
    const queue = queues.queue<number>();
    const { opened, open } = gate();
    const dedupe = { id: 'd', ttlMs: 1 };
    const first = await queue.add('x', 1, { dedupe });
    const at = first.addedAt;
    await until(() => Date.now() > at + 50, { what: 'the ttl to pass' });
    expect((await queue.add('x', 2, { dedupe })).id).toBe(first.id);
    queue.process(() => opened);
    await reaches(queue as TaskQueue, { active: 1 });
    expect((await queue.add('x', 3, { dedupe })).id).toBe(first.id);
    open();
    await first.waitUntilFinished();
    expect((await queue.add('x', 4, { dedupe })).id).not.toBe(first.id);
  });

  test('ends when the job is removed, by whatever, and leaves no mark', async () => {
    const queue = queues.queue<number>();
    const options = { dedupe: { id: 'd', ttlMs: 3_600_000 } };
    const first = await queue.add('x', 1, options);
    await first.remove();
    const second = await queue.add('x', 2, options);
    expect(second.id).not.toBe(first.id);
    queue.process(() => null);
    await second.waitUntilFinished();
    await second.remove();
    const third = await queue.add('x', 3, { ...options, delayMs: 3_600_000 });
    expect(third.id).not.toBe(second.id);
    await queue.drain({ delayed: true });
    expect((await queue.add('x', 4, { ...options, delayMs: 3_600_000 })).id).not.toBe(third.id);
    await queue.obliterate();
    expect(await backend.manager().command('KEYS', `${backend.namespace}*:once:*`)).toEqual([]);
  });

  test('is held by a failed job that is retried, and ended by obliterate though the job is gone', async () => {
    const queue = queues.queue<number>();
    const worker = queue.process(() => {
      throw new Error('no');
    });
    const failing = [1, 2].map((n) => queue.add('x', n, { dedupe: { id: `d${n}` } }));
    const [one, two] = await Promise.all(failing);
    await reaches(queue as TaskQueue, { failed: 2 });
    await worker.close();
    await one?.retry();
    expect(await queue.retryFailed()).toBe(1);
    expect((await queue.add('x', 3, { dedupe: { id: 'd1' } })).id).toBe(one?.id);
    expect((await queue.add('x', 3, { dedupe: { id: 'd2' } })).id).toBe(two?.id);
    await queue.drain();
    const options = { dedupe: { id: 'd', ttlMs: 3_600_000 }, keepFailed: false };
    const gone = await queue.add('x', 4, options);
    await gone.cancel();
    expect((await queue.add('x', 5, options)).id).toBe(gone.id);
    await queue.obliterate();
    expect(await backend.manager().command('KEYS', `${backend.namespace}*`)).toEqual([]);
    expect((await queue.add('x', 5, options)).id).not.toBe(gone.id);
  });

  test('has the newest data follow a job that runs, where it is to replace it, and drops only what is older', async () => {
    const queue = queues.queue<number, string>();
    const { opened, open } = gate();
    const done: number[] = [];
    const worker = queue.process(async (job) => {
      if (job.data === 1) await opened;
      done.push(job.data);
      return `result of ${job.data}`;
    });
    const replace = { dedupe: { id: 'd', replace: true } };
    const first = await queue.add('x', 1, replace);
    await reaches(queue as TaskQueue, { active: 1 });
    const second = await queue.add('x', 2, replace);
    const third = await queue.add('x', 3, replace);
    expect([second, third].map((job) => [job.data, job.state])).toEqual([
      [2, 'waiting-children'],
      [3, 'waiting-children'],
    ]);
    expect(await second.refresh()).toBeNull();
    // One that does not replace is given the one that runs.
    expect((await queue.add('x', 4, { dedupe: { id: 'd' } })).id).toBe(first.id);
    expect(await queue.counts()).toEqual({ ...EMPTY, active: 1, 'waiting-children': 1 });
    const paused = worker.pause();
    open();
    expect(await first.waitUntilFinished()).toBe('result of 1');
    await reaches(queue as TaskQueue, { waiting: 1 });
    await paused;
    // Now it is one that waits like any other, and has the id.
    expect((await queue.add('x', 5, { dedupe: { id: 'd' } })).id).toBe(third.id);
    worker.resume();
    expect(await third.waitUntilFinished()).toBe('result of 3');
    expect(done).toEqual([1, 3]);
    expect((await queue.add('x', 6, { dedupe: { id: 'd' } })).id).not.toBe(third.id);
  });

  test('has the newest data follow whatever becomes of the job that ran', async () => {
    const queue = queues.queue<string>();
    const done: string[] = [];
    const replaces = (id: string) => ({ dedupe: { id, replace: true } });
    const { opened, open } = gate();
    const worker = queue.process(
      async (job) => {
        await opened;
        if (job.name === 'fails') throw new Error('no');
        done.push(job.data);
      },
      { concurrency: 5 },
    );
    for (const keepFailed of [true, false]) await queue.add('fails', 'no', { ...replaces(`${keepFailed}`), keepFailed });
    await queue.add('x', 'first', replaces('delayed'));
    await queue.add('retried', 'first', { ...replaces('retried'), keepCompleted: false });
    await reaches(queue as TaskQueue, { active: 4 });
    const followers = [
      await queue.add('x', 'after true', replaces('true')),
      await queue.add('x', 'after false', replaces('false')),
      await queue.add('x', 'after one, later', { ...replaces('delayed'), delayMs: 20 }),
      await queue.add('x', 'after children', {
        ...replaces('retried'),
        children: [{ name: 'child', data: 'child' }],
      }),
    ];
    open();
    await Promise.all(followers.map((job) => job.waitUntilFinished()));
    expect(done.filter((data) => data.startsWith('after')).sort()).toEqual([
      'after children',
      'after false',
      'after one, later',
      'after true',
    ]);
    await worker.close();
    await queue.obliterate();
    // Waits listen, which is noted anew.
    const left = (await backend.manager().command('KEYS', `${backend.namespace}*`)) as string[];
    expect(left.filter((key) => !key.endsWith(':meta'))).toEqual([]);
  });

  test('has a job that follows another one cancelled, removed and retried like any other', async () => {
    const queue = queues.queue<number>();
    const { opened, open } = gate();
    queue.process(() => opened);
    const replace = { dedupe: { id: 'd', replace: true } };
    const first = await queue.add('x', 1, replace);
    await reaches(queue as TaskQueue, { active: 1 });
    const removed = await queue.add('x', 2, replace);
    expect(await removed.remove()).toBe(true);
    const cancelled = await queue.add('x', 3, replace);
    expect(await cancelled.cancel()).toBe(true);
    await cancelled.retry();
    expect((await cancelled.refresh())?.state).toBe('waiting-children');
    open();
    await first.waitUntilFinished();
    await cancelled.waitUntilFinished();
    expect(await queue.counts()).toEqual({ ...EMPTY, completed: 2 });
    // Nobody has the id any more.
    expect((await queue.add('x', 4, { dedupe: { id: 'd' } })).data).toBe(4);
  });
});
