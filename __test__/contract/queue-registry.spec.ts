/** Workers that register themselves. */
import { type RedisError, TaskQueue, type TaskWorkerRegistry, type WorkerInfo, WorkerRegistry } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { gate, reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

describeBackends('a registered worker', (backend) => {
  const queues = useQueues(backend);

  const only = async (registry: WorkerRegistry, expected: Partial<WorkerInfo>) => {
    let last: WorkerInfo[] = [];
    await until(
      async () => {
        last = await registry.list();
        const [worker] = last;
        return worker && Object.entries(expected).every(([field, value]) => worker[field as keyof WorkerInfo] === value);
      },
      { timeoutMs: 10_000, what: () => `one worker with ${JSON.stringify(expected)}; there are ${JSON.stringify(last)}` },
    );
    return last[0] as WorkerInfo;
  };

  test('shows what it does, and is gone when it is closed', async () => {
    const manager = backend.manager();
    const registry = new WorkerRegistry(manager, { heartbeatIntervalMs: 50 });
    const queue = new TaskQueue('work', manager);
    const { opened, open } = gate();
    const worker = queue.process(() => opened, { registry, concurrency: 4 });
    await only(registry, { type: 'work', capacity: 4, status: 'idle', load: 0 });
    await queue.addBulk([1, 2].map((data) => ({ name: 'x', data })));
    await only(registry, { status: 'busy', load: 0.5 });
    const paused = worker.pause();
    await only(registry, { status: 'paused' });
    open();
    await paused;
    await only(registry, { status: 'paused', load: 0 });
    worker.resume();
    await only(registry, { status: 'idle' });
    await worker.close();
    expect(await registry.list()).toEqual([]);
    await queue.close();
    await registry.cleanup();
  });

  test('does what it is sent', async () => {
    const manager = backend.manager();
    const registry = new WorkerRegistry(manager, { heartbeatIntervalMs: 50 });
    const queue = new TaskQueue('work', manager);
    const worker = queue.process(() => {}, { registry });
    const { id } = await only(registry, { status: 'idle' });
    await registry.send(id, { name: 'pause' });
    await until(() => !worker.isRunning(), { what: 'the worker to pause' });
    await queue.add('x', 1);
    expect(await queue.counts()).toMatchObject({ waiting: 1 });
    await registry.send(id, { name: 'resume' });
    await reaches(queue, { completed: 1 });
    const closed = gate();
    worker.on('closed', () => closed.open());
    await registry.send(id, { name: 'drain' });
    await closed.opened;
    expect(await registry.list()).toEqual([]);
    await queue.close();
    await registry.cleanup();
  });

  test('works all the same while its registry cannot be reached, and registers later', async () => {
    const queue = queues.queue<number>();
    const errors: RedisError[] = [];
    const calls: string[] = [];
    let broken = true;
    const registry: TaskWorkerRegistry = {
      async register() {
        calls.push('register');
        if (broken) throw new Error('away');
        return { id: 'w', epoch: 1 };
      },
      async heartbeat(_, update) {
        calls.push(`heartbeat ${update?.status}`);
        return true;
      },
      async unregister(id) {
        calls.push(`unregister ${id}`);
        return true;
      },
    };
    const worker = queue.process((job) => job.data, { registry });
    worker.on('error', (error) => errors.push(error));
    expect(await (await queue.add('x', 1)).waitUntilFinished()).toBe(1);
    expect(errors[0]?.message).toMatch(/^TaskWorker: registry: away/);
    broken = false;
    expect(await (await queue.add('x', 2)).waitUntilFinished()).toBe(2);
    await until(() => calls.some((call) => call.startsWith('heartbeat')) || calls.filter((call) => call === 'register').length > 1, {
      what: 'a registration',
    });
    await worker.close();
    expect(calls.at(-1)).toBe('unregister w');
  });
});
