import { type Container, createContainer, createTestRedisConfig, type Job, type WorkerInfo } from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

describe('a service that does everything through one container', () => {
  let container: Container;
  beforeAll(async () => {
    container = await createContainer({ redis: createTestRedisConfig(), registry: { heartbeatIntervalMs: 100 } });
  });
  afterAll(() => container.shutdown());

  it('hears every message that is published after subscribe()', async () => {
    const bus = container.getBus();
    const heard: number[] = [];
    const stop = await bus.subscribe<number>('numbers', ({ payload }) => void heard.push(payload));
    const receivers = await Promise.all(Array.from({ length: 100 }, (_, n) => bus.publish('numbers', n)));
    expect(receivers).toEqual(Array(100).fill(1));
    await expect.poll(() => heard).toEqual(Array.from({ length: 100 }, (_, n) => n));
    await stop();
  });

  it('tries a durable message again, and hands out what has failed', async () => {
    const bus = container.getBus();
    const attempts: number[] = [];
    await using _ = await bus.subscribe(
      'orders',
      (_message, { attempt }) => {
        attempts.push(attempt);
        throw new Error('out of stock');
      },
      { group: 'shipping', retry: { maxAttempts: 2, minDelayMs: 1, maxDelayMs: 5 } },
    );
    await bus.publish('orders', { order: 7 }, { durable: true, key: 'customer-3' });
    const letters = bus.deadLetters('orders', 'shipping');
    await expect
      .poll(() => letters.list())
      .toMatchObject([{ lastError: 'out of stock', key: 'customer-3', envelope: { payload: { order: 7 } } }]);
    expect(attempts).toEqual([1, 2]);
    expect(await letters.purge()).toBe(1);
  });

  it('works off jobs, also those that fail at first', async () => {
    const queue = container.getQueue<number, string>('mails');
    queue.process((job: Job<number, string>, { attempt }) => {
      if (job.data === 1 && attempt === 1) throw new Error('busy');
      return `job ${job.data}, attempt ${attempt}`;
    });
    const jobs = await queue.addBulk([0, 1].map((data) => ({ name: 'mail', data, options: { attempts: 2 } })));
    expect(await Promise.all(jobs.map((job) => job.waitUntilFinished()))).toEqual(['job 0, attempt 1', 'job 1, attempt 2']);
  });

  it('knows its workers', async () => {
    const registry = container.getRegistry();
    const worker: WorkerInfo = await registry.register({ type: 'render', capabilities: ['gpu'], capacity: 1 });
    expect(await registry.health(worker.id)).toBe('healthy');
    const claims = await Promise.all([registry.claim({ capabilities: ['gpu'] }), registry.claim({ capabilities: ['gpu'] })]);
    expect(claims.map((claim) => claim?.workerId)).toEqual(expect.arrayContaining([worker.id, undefined]));
    expect(await container.health()).toEqual({
      ok: true,
      redis: true,
      bus: true,
      kv: true,
      registry: true,
      checkpoints: true,
      'queue:mails': true,
    });
  });
});
