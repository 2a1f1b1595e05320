/** The `corrId` of jobs: what is done in a processor, and what is added in a handler, belongs together. */
import { correlation, createEnvelope, type Envelope, type Job, MessageBus, withCorrelation } from 'redis-backplane';
import { afterEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

describeBackends('correlation of jobs', (backend) => {
  const queues = useQueues(backend);
  const buses: MessageBus[] = [];

  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });

  function openBus(): MessageBus {
    const bus = new MessageBus(backend.manager());
    buses.push(bus);
    return bus;
  }

  test('is that of what a processor publishes and adds, however late', async () => {
    const [first, second, bus] = [queues.queue('first'), queues.queue('second'), openBus()];
    const published: Envelope[] = [];
    await bus.subscribe('done', (message) => void published.push(message));
    first.process(async (job) => {
      await job.log('begun');
      await bus.publish('done', job.id);
      await second.add('next', createEnvelope('x', 1).corrId);
      await second.addBulk([
        { name: 'next', data: 2, options: { corrId: 'its own' } },
        { name: 'next', data: 3 },
      ]);
    });
    await first.add('x', 1, { id: 'j', corrId: 'order-1' });
    await until(() => published.length === 1, { what: 'the message' });
    await reaches(second, { waiting: 3 });
    expect(published.map(({ corrId, payload }) => [corrId, payload])).toEqual([['order-1', 'j']]);
    const added = await second.list('waiting');
    expect(added.map(({ data, options }) => [data, options])).toEqual([
      ['order-1', { corrId: 'order-1' }],
      [2, { corrId: 'its own' }],
      [3, { corrId: 'order-1' }],
    ]);
  });

  test('is nothing to the next job, and not there where a job has none', async () => {
    const queue = queues.queue();
    const seen: unknown[] = [];
    queue.process(
      async () => {
        const before = correlation();
        await null;
        seen.push([before, correlation()]);
      },
      { concurrency: 3 },
    );
    await queue.addBulk([
      { name: 'x', data: 1, options: { corrId: 'a "corrId":' } },
      { name: 'x', data: 2, options: { group: '"corrId":"g"' } },
      { name: 'x', data: 3 },
    ]);
    await reaches(queue, { completed: 3 });
    const one = { corrId: 'a "corrId":' };
    expect(seen).toHaveLength(3);
    expect(seen).toEqual(
      expect.arrayContaining([
        [one, one],
        [undefined, undefined],
        [undefined, undefined],
      ]),
    );
  });

  test('is that of the message whose handler adds the job', async () => {
    const [queue, bus] = [queues.queue(), openBus()];
    await bus.subscribe('orders', async () => void (await queue.add('x', 1)));
    await bus.publish('orders', createEnvelope('order', 1, 'from the bus'));
    await reaches(queue, { waiting: 1 });
    expect((await queue.list('waiting'))[0]?.options).toEqual({ corrId: 'from the bus' });
  });

  test('of a default option counts before that of the context; one that no job may have is left out', async () => {
    const [queue, own] = [queues.queue(), queues.queue('own', { defaultJobOptions: { corrId: 'of the queue' } })];
    const at = (corrId: string, add: () => Promise<Job>) => withCorrelation({ corrId }, add);
    expect((await at('here', () => own.add('x', 1))).options).toEqual({ corrId: 'of the queue' });
    expect((await at('here', () => queue.add('x', 1))).options).toEqual({ corrId: 'here' });
    expect((await at('é'.repeat(256), () => queue.add('x', 1))).options).toEqual({ corrId: 'é'.repeat(256) });
    for (const foreign of ['é'.repeat(257), 'two\nlines', '\ud800']) {
      expect((await at(foreign, () => queue.add('x', 1))).options).toEqual({});
    }
  });

  test('is not inherited by a schedule', async () => {
    const queue = queues.queue();
    await withCorrelation({ corrId: 'here' }, () => queue.schedule('s', { everyMs: 60_000 }, { name: 'x', data: 1 }));
    expect(JSON.stringify(await queue.schedules())).not.toContain('corrId');
  });
});
