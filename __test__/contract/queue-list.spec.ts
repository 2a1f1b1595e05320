/** Lists of very many jobs: read page by page, they are what one look would give. */
import type { Job, TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { gate, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

const range = (count: number) => Array.from({ length: count }, (_, at) => at);

describeBackends('lists of very many jobs', (backend) => {
  const queues = useQueues(backend);

  async function expectPages(queue: TaskQueue<number>, state: 'waiting' | 'active', expected: string[]): Promise<void> {
    const ids = (jobs: Job<number>[]) => jobs.map((job) => job.id);
    for (const start of [0, 1, 450, 1_200, expected.length - 3, expected.length + 5]) {
      for (const limit of [1, 20, 1_100]) {
        const page = ids(await queue.list(state, { start, limit }));
        expect({ start, limit, page }).toEqual({ start, limit, page: expected.slice(start, start + limit) });
      }
    }
  }

  test('removed ones leave no holes, those of priorities and groups follow, one that is there again has its new place', async () => {
    const queue = queues.queue<number>();
    const add = (prefix: string, count: number, options: (at: number) => object = () => ({})) =>
      queue.addBulk(range(count).map((at) => ({ name: 'x', data: at, options: { id: `${prefix}${at}`, ...options(at) } })));
    const plain = await add('p', 3_000);
    await Promise.all(plain.filter((_, at) => at % 2 === 1).map((job) => job.remove()));
    await add('ranked', 40, () => ({ priority: 5 }));
    await add('grouped', 1_500, (at) => ({ group: `g${at}` }));
    // Its ghost and its place are pages apart.
    await queue.add('x', 1, { id: 'p1' });
    await plain[4]?.changePriority(9);
    const stay = range(1_500).map((at) => `p${at * 2}`);
    const lined = [...stay.filter((id) => id !== 'p4'), 'p1'];
    const grouped = range(1_500).map((at) => `grouped${at}`);
    await expectPages(queue, 'waiting', [...lined, ...range(40).map((at) => `ranked${at}`), 'p4', ...grouped]);
    const last = await queue.list('waiting', { start: 1_500, limit: 50, newestFirst: true });
    expect(last.map((job) => job.id)).toEqual(['p4', ...range(40).map((at) => `ranked${39 - at}`), ...lined.slice(-9).reverse()]);
  });

  test('active ones come in the order of their starts', async () => {
    const queue = queues.queue<number>();
    const { opened, open } = gate();
    const count = 1_600;
    let started = 0;
    queue.process(
      () => {
        started += 1;
        return opened;
      },
      { concurrency: count },
    );
    await queue.addBulk(range(count).map((at) => ({ name: 'x', data: at })));
    await until(() => started === count, { what: () => `all jobs to start; ${started} have`, timeoutMs: 20_000 });
    const all = await queue.list('active', { limit: 10_000 });
    const order = [...all].sort((one, other) => Number(one.startedAt) - Number(other.startedAt) || (one.id < other.id ? -1 : 1));
    expect(all.length).toBe(count);
    await expectPages(
      queue,
      'active',
      order.map((job) => job.id),
    );
    open();
  });
});
