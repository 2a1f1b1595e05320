/** Checkpoints on a cluster: all that belongs to one thread, and the lists that it is in, are in one slot. */
import { CheckpointStore, RedisConnectionManager } from 'redis-backplane';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RedisServer, startCluster } from './support/redis-server.ts';
import { until } from './support/until.ts';

let nodes: RedisServer[];
beforeAll(async () => {
  nodes = await startCluster(3);
}, 60_000);
afterAll(() => Promise.all(nodes.map((node) => node[Symbol.asyncDispose]())));

const connect = () => new RedisConnectionManager({ url: `redis+cluster://127.0.0.1:${nodes[0]?.port}`, namespace: 'app' });

test('every call works there, and the threads are spread over all masters', async () => {
  await using manager = connect();
  const store = new CheckpointStore(manager, { ttlSec: 600 });
  const threads = Array.from({ length: 100 }, (_, n) => `t${n}`);
  const told: string[] = [];
  const watching = await store.watch('t7', ({ id }) => void told.push(id));
  await Promise.all(
    threads.map(async (thread, n) => {
      const first = await store.save(thread, n, { meta: { n } });
      await store.addPending(thread, first.id, 'task', [['x', n]]);
      const run = await store.acquire(thread, { worker: { id: 'w', epoch: 1 } });
      expect(run?.checkpoint).toMatchObject({ state: n, pending: [{ value: n }] });
      const second = await run?.save(n + 1);
      await run?.pause();
      expect(await store.pin(thread, first.id)).toBe(true);
      for await (const info of store.history(thread, { where: { n } })) expect(info).toEqual({ ...first, pinned: true });
      expect(await store.fork(thread, first.id, `copy of ${thread}`)).toMatchObject({ id: first.id });
      expect(await store.pin(thread, first.id, false)).toBe(true);
      expect(await store.prune(thread, { last: 1 })).toBe(1);
      expect(await store.latest(thread)).toMatchObject({ id: second?.id, state: n + 1 });
    }),
  );
  await until(() => told.length === 2, { what: 'the news of a thread' });
  await watching();
  const found: string[] = [];
  for await (const thread of store.threads({ prefix: 't' })) found.push(thread);
  expect(found.sort()).toEqual([...threads].sort());
  for (const node of nodes) expect((await node.keys()).filter(({ key }) => key.includes(':state:t')).length).toBeGreaterThan(0);
  for (const thread of threads) expect(await store.remove(thread)).toBe(true);
});

test('threads of all masters are found and taken over when their owner is gone', async () => {
  await using manager = connect();
  const store = new CheckpointStore(manager);
  const threads = Array.from({ length: 40 }, (_, n) => `gone${n}`);
  {
    await using gone = connect();
    const theirs = new CheckpointStore(gone);
    await Promise.all(threads.map((thread) => theirs.acquire(thread, { leaseMs: 300 })));
  }
  await until(async () => (await store.interrupted()).length === threads.length, { what: 'all threads to be interrupted' });
  const calls: string[] = [];
  await using _ = store.resume(
    async (run) => {
      calls.push(run.thread);
      await run.finish();
    },
    { concurrency: 10 },
  );
  await until(() => calls.length === threads.length, { what: 'all threads to be taken', timeoutMs: 20_000 });
  expect(calls.sort()).toEqual([...threads].sort());
});
