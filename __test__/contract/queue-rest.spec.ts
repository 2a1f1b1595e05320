/** Workers that have nothing to do: they cost the server next to nothing, and miss nothing. */
import { RedisConnectionManager, type TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

describeBackends('a worker at rest', (backend) => {
  const queues = useQueues(backend);
  const key = (part: string) => `${backend.namespace}:~queue:{work}:${part}`;
  // A third of it is the time between two renewals, and so what passes before a worker rests.
  const LEASE = { leaseMs: 1_000 };

  /** A worker that rests, and what it has done. */
  async function atRest(): Promise<{ queue: TaskQueue; done: string[] }> {
    const queue = queues.queue();
    const done: string[] = [];
    queue.process(async (job) => void done.push(job.id), LEASE);
    const manager = backend.manager();
    await until(async () => (await manager.command('EXISTS', key('idle'))) === 1, { what: 'the worker to wait for jobs' });
    await until(async () => (await manager.command('EXISTS', key('leases'))) === 0, { what: 'the worker to rest' });
    return { queue, done };
  }

  test('takes a job at once, and has a lease from then on', async () => {
    const { queue, done } = await atRest();
    let end: () => void = () => {};
    const manager = backend.manager();
    const held = new Promise<void>((resolve) => {
      end = resolve;
    });
    await queue.add('one', 1, { id: 'one' });
    await until(() => done.includes('one'), { what: 'the job to be done' });
    const busy = queues.queue('busy');
    busy.process(() => held, LEASE);
    const leases = `${backend.namespace}:~queue:{busy}:leases`;
    await until(async () => (await manager.command('EXISTS', leases)) === 1, { what: 'the lease that every worker begins with' });
    await until(async () => (await manager.command('EXISTS', leases)) === 0, { what: 'the other worker to rest' });
    await busy.add('long', 1);
    await until(async () => (await manager.command('EXISTS', leases)) === 1, { what: 'the lease of a busy worker' });
    // Renewed for longer than it lasts.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect((await busy.counts()).active).toBe(1);
    end();
    await until(async () => (await busy.counts()).completed === 1, { what: 'the job to be over' });
  });

  test('finds a job of which nobody told it', async () => {
    const { queue, done } = await atRest();
    await backend.manager().command('DEL', key('idle'));
    await queue.add('untold', 1, { id: 'untold' });
    await until(() => done.includes('untold'), { what: 'the job to be found', timeoutMs: 15_000 });
  });

  test('gives away what another one held that ended without a word', async () => {
    const { queue, done } = await atRest();
    await queue.pause();
    // In a process of its own, as it were: it is gone before its job is over.
    const other = new RedisConnectionManager({ url: backend.url, namespace: backend.namespace });
    const { TaskQueue: Queue } = await import('redis-backplane');
    const doomed = new Queue('work', other);
    const taken = new Promise<void>((resolve) => {
      doomed.process(
        () => {
          resolve();
          return new Promise(() => {});
        },
        { ...LEASE, concurrency: 1_000 },
      );
    });
    for (const worker of [queue]) await worker.resume();
    await doomed.addBulk(Array.from({ length: 50 }, (_, at) => ({ name: 'j', data: at, options: { id: `j${at}` } })));
    await taken;
    const held = (await queue.list('active', { limit: 100 })).length;
    expect(held).toBeGreaterThan(0);
    await other.disconnect();
    await until(() => new Set(done).size === 50, { what: () => `50 jobs to be done; ${new Set(done).size} are`, timeoutMs: 18_000 });
  });

  test('is told of a job that is put off, and does it in time', async () => {
    const { queue, done } = await atRest();
    await queue.add('later', 1, { id: 'later', delayMs: 500 });
    await until(() => done.includes('later'), { what: 'the delayed job to be done', timeoutMs: 3_000 });
  });

  test('ticks', async () => {
    const { queue, done } = await atRest();
    await queue.schedule('s', { everyMs: 300 }, { name: 's', data: 1 });
    await until(() => done.length >= 2, { what: 'two ticks', timeoutMs: 5_000 });
    await queue.unschedule('s');
  });

  test('takes nothing while it is paused, and wakes nobody in its place', async () => {
    const queue = queues.queue();
    const done: string[] = [];
    const paused = queue.process(async (job) => void done.push(`paused ${job.id}`), LEASE);
    const manager = backend.manager();
    await until(async () => (await manager.command('EXISTS', key('idle'))) === 1, { what: 'the worker to wait for jobs' });
    await paused.pause();
    await until(async () => (await manager.command('EXISTS', key('idle'))) === 0, { what: 'nobody to wait for jobs' });
    const other = queues.queue();
    other.process(async (job) => void done.push(`other ${job.id}`), LEASE);
    await queue.add('one', 1, { id: 'one' });
    await until(() => done.length > 0, { what: 'the job to be done' });
    expect(done).toEqual(['other one']);
  });

  test('costs the server next to nothing, however many there are', { timeout: 60_000 }, async () => {
    const manager = backend.manager();
    const { TaskQueue: Queue } = await import('redis-backplane');
    const many = Array.from({ length: 200 }, (_, at) => new Queue(`q${at}`, manager));
    for (const queue of many) queue.process(async () => {}, LEASE);
    const exists = () => manager.command('EXISTS', ...many.map((_, at) => `${backend.namespace}:~queue:{q${at}}:leases`));
    await until(async () => (await exists()) === 0, { what: 'all workers to rest', timeoutMs: 20_000 });
    const commands = async () => Number(/total_commands_processed:(\d+)/.exec(String(await manager.command('INFO', 'stats')))?.[1]);
    // Those that just came to rest are still to be looked at by themselves once.
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    const before = await commands();
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    // Each by itself they would be 600 renewals a second, of a dozen commands each.
    expect((await commands()) - before).toBeLessThan(500);
    await Promise.all(many.map((queue) => queue.close({ graceMs: 0 })));
  });
});
