/** What a queue tells of its jobs, in every process that listens. */
import { type TaskQueue, UnrecoverableError } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { type Heard, reaches, record, thrown, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

describeBackends('queue events', (backend) => {
  const queues = useQueues(backend);
  const of = (heard: Heard[], jobId: string) => heard.filter(({ event }) => (event as { jobId?: string } | undefined)?.jobId === jobId);
  const seen = (heard: Heard[], type: string, count = 1) =>
    until(() => heard.filter((one) => one.type === type).length >= count, {
      what: () => `${count} of ${type}; heard ${heard.map((one) => one.type)}`,
    });

  test('tell the life of a job to every listener of the fleet, in order', async () => {
    const [producer, worker, watcher] = [queues.queue(), queues.queue(), queues.queue()];
    const heard = [await record(watcher), await record(producer)] as const;
    worker.process(async (job, { attempt }) => {
      await job.updateProgress({ attempt });
      if (attempt === 1) throw new Error('again');
      return { ok: true };
    });
    const job = await producer.add('mail', 1, { attempts: 2, backoff: { type: 'fixed', delayMs: 5 } });
    for (const one of heard) {
      await seen(one, 'completed');
      expect(of(one, job.id)).toEqual([
        { type: 'added', event: { jobId: job.id, name: 'mail' } },
        { type: 'active', event: { jobId: job.id } },
        { type: 'progress', event: { jobId: job.id, progress: { attempt: 1 } } },
        { type: 'retrying', event: { jobId: job.id, reason: 'again', delayMs: 5, attemptsMade: 1 } },
        { type: 'active', event: { jobId: job.id } },
        { type: 'progress', event: { jobId: job.id, progress: { attempt: 2 } } },
        { type: 'completed', event: { jobId: job.id, result: { ok: true } } },
      ]);
      await seen(one, 'drained');
      expect(one.filter(({ type }) => type === 'gap' || type === 'error')).toEqual([]);
    }
  });

  test('tell of failures, removals, large and missing results', async () => {
    const queue = queues.queue<string>();
    const heard = await record(queue as TaskQueue);
    queue.process((job) => {
      if (job.data === 'bad') throw new UnrecoverableError('hopeless');
      return job.data === 'large' ? 'x'.repeat(100_000) : undefined;
    });
    const [bad, large, none] = await queue.addBulk(
      ['bad', 'large', 'none'].map((data) => ({ name: data, data, options: { id: data, attempts: 3 } })),
    );
    await seen(heard, 'completed', 2);
    await seen(heard, 'failed');
    expect(of(heard, 'bad').at(-1)).toEqual({ type: 'failed', event: { jobId: 'bad', reason: 'hopeless' } });
    expect(of(heard, 'large').at(-1)).toEqual({ type: 'completed', event: { jobId: 'large' } });
    expect(of(heard, 'none').at(-1)).toEqual({ type: 'completed', event: { jobId: 'none' } });
    expect((await large?.refresh())?.result).toHaveLength(100_000);
    await Promise.all([bad?.remove(), none?.remove()]);
    await seen(heard, 'removed', 2);
  });

  test('miss nothing of thousands', async () => {
    const [producer, watcher] = [queues.queue<number>(), queues.queue()];
    const heard = await record(watcher);
    producer.process(() => {}, { concurrency: 50 });
    await producer.addBulk(Array.from({ length: 3_000 }, (_, data) => ({ name: 'x', data })));
    await seen(heard, 'completed', 3_000);
    for (const type of ['added', 'active', 'completed']) expect(heard.filter((one) => one.type === type)).toHaveLength(3_000);
    expect(heard.filter(({ type }) => type === 'gap' || type === 'error')).toEqual([]);
  });

  test('stop with the last listener, and begin again with the next', async () => {
    const queue = queues.queue();
    const added: string[] = [];
    const listener = ({ jobId }: { jobId: string }) => void added.push(jobId);
    queue.on('added', listener);
    await queue.ready();
    await queue.add('x', 1, { id: 'a' });
    await until(() => added.length === 1, { what: 'the first' });
    queue.off('added', listener);
    queue.off('added', listener);
    await queue.add('x', 1, { id: 'b' });
    queue.on('added', listener);
    await queue.ready();
    await queue.add('x', 1, { id: 'c' });
    await until(() => added.includes('c'), { what: 'the third' });
    // The second may have been heard by the one or not by the other; the third is heard by the one that is left.
    expect(added.filter((id) => id !== 'b')).toEqual(['a', 'c']);
  });

  test('a listener that throws or rejects affects nobody; a wrong one is refused', async () => {
    const queue = queues.queue();
    const warnings: string[] = [];
    const warned = (warning: Error) => void warnings.push(warning.message);
    process.on('warning', warned);
    queue.on('added', () => {
      throw new Error('thrown');
    });
    queue.on('added', async () => {
      throw new Error('rejected');
    });
    const heard = await record(queue);
    await queue.add('x', 1);
    await seen(heard, 'added');
    await until(() => warnings.includes('thrown') && warnings.includes('rejected'), { what: 'the warnings' });
    process.off('warning', warned);
    expect(thrown(() => queue.on('complete' as never, () => {})).message).toMatch(/^TaskQueue\.on: event: expected one of added, /);
    expect(thrown(() => queue.on('added', undefined as never)).message).toMatch(/listener/);
  });

  test('cost nothing where nobody listens', async () => {
    const queue = queues.queue();
    queue.process(() => {});
    await queue.addBulk(Array.from({ length: 100 }, (_, data) => ({ name: 'x', data })));
    await reaches(queue, { completed: 100 });
    expect(await backend.manager().command('EXISTS', `${backend.namespace}:~queue:{work}:events`)).toBe(0);
  });

  test('tell a listener that was cut off that it may have missed some', async () => {
    const [queue, producer] = [queues.queue(), queues.queue()];
    const heard = await record(queue);
    await producer.add('x', 1);
    await seen(heard, 'added');
    if (backend.server) await backend.server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
    else (await import('redis-backplane')).memoryControl(backend.url.slice('memory://'.length)).killClients();
    await until(
      async () => {
        await producer.add('x', 1).catch(() => {});
        return heard.filter(({ type }) => type === 'added').length >= 3;
      },
      { timeoutMs: 10_000, what: 'events to be heard again' },
    );
  });
});
