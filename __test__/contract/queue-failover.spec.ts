/**
 * What a failover takes: the last writes that the old master acknowledged and its replica did not have. Here the queue's keys are put back to
 * what they were, in one transaction, which is what a worker finds on a promoted replica.
 */
import type { CommandArgument, RedisConnectionManager, TaskQueue } from 'redis-backplane';
import { expect, test } from 'vitest';
import { type Backend, describeBackends } from '../support/backends.ts';
import { gate, reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

type Dump = [key: string, ttl: number, value: string | Buffer];

/** Every key of the test's namespace but for streams, which `memory://` does not dump. */
async function dump(manager: RedisConnectionManager, { namespace }: Backend): Promise<Dump[]> {
  const dumps: Dump[] = [];
  for (const key of await manager.command<string[]>('KEYS', `${namespace}*`)) {
    if ((await manager.command<string>('TYPE', key)) === 'stream') continue;
    const ttl = await manager.command<number>('PTTL', key);
    dumps.push([key, Math.max(ttl, 0), await manager.command<string | Buffer>('DUMP', key)]);
  }
  return dumps;
}

/** Puts the keys back to what they were. */
async function rollBack(manager: RedisConnectionManager, backend: Backend, dumps: Dump[]): Promise<void> {
  const now = (await dump(manager, backend)).map(([key]) => key);
  const commands: [string, ...CommandArgument[]][] = now.map((key) => ['DEL', key]);
  for (const [key, ttl, value] of dumps) commands.push(['RESTORE', key, ttl, value]);
  await manager.transaction(commands);
}

describeBackends('a worker whose last writes a failover took', (backend) => {
  const queues = useQueues(backend);

  test.each([
    ['and that has nothing else to do', false],
    ['and that goes on with others', true],
  ])('does a job again whose completion is gone, %s', async (_, busy) => {
    const manager = backend.manager();
    const queue = queues.queue<number>();
    const ran: string[] = [];
    const started = gate();
    const end = gate();
    const worker = queue.process(
      async ({ id }) => {
        ran.push(id);
        started.open();
        if (ran.length === 1) await end.opened;
      },
      { leaseMs: 1_500 },
    );
    await queue.add('x', 1, { id: 'j' });
    await started.opened;
    const before = await dump(manager, backend);
    end.open();
    await reaches(queue as TaskQueue, { completed: 1 });
    await rollBack(manager, backend, before);
    expect(await queue.counts()).toMatchObject({ active: 1, completed: 0 });
    if (busy) await queue.add('x', 1, { id: 'k' });
    await reaches(queue as TaskQueue, { active: 0, completed: busy ? 2 : 1 });
    expect(ran.filter((id) => id === 'j')).toHaveLength(2);
    await worker.close();
  });

  test('is told that a job is not its own whose claim is gone, and the job is done', async () => {
    const manager = backend.manager();
    const queue = queues.queue<number>();
    const ran: AbortSignal[] = [];
    const waits = gate();
    await queue.add('x', 1, { id: 'j' });
    const before = await dump(manager, backend);
    const worker = queue.process(
      async (_, { signal }) => {
        ran.push(signal);
        if (ran.length === 1) await waits.opened;
      },
      { leaseMs: 1_500, concurrency: 2 },
    );
    const errors: unknown[] = [];
    worker.on('error', (error) => void errors.push(error));
    await until(() => ran.length === 1, { what: 'the claim' });
    const lease = (await dump(manager, backend)).filter(([key]) => /:(leases|idle)$/.test(key));
    await rollBack(manager, backend, [...before.filter(([key]) => !/:(leases|idle)$/.test(key)), ...lease]);
    await until(() => ran[0]?.aborted, { what: 'the first attempt to be told' });
    expect(ran[0]?.reason).toMatchObject({ redisErrorKind: 'lease-lost' });
    await reaches(queue as TaskQueue, { active: 0, waiting: 0, completed: 1 });
    expect(ran).toHaveLength(2);
    expect(ran[1]?.aborted).toBe(false);
    await until(() => errors.length > 0, { what: 'the loss to be told' });
    waits.open();
    await worker.close();
  });
});
