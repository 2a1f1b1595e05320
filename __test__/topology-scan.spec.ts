/** Walks over all keys while servers change under them: what is there all the time is given, what is cleared is gone. */

import { KVStore, TaskQueue, WorkerRegistry } from 'redis-backplane';
import { afterEach, expect, it } from 'vitest';
import { useRig } from './support/rig.ts';
import { ReplicatedCluster, Sentinels } from './support/topology.ts';
import { until } from './support/until.ts';

const rig = useRig();
const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const topology of open.splice(0)) await topology[Symbol.asyncDispose]();
});
const KEYS = 6_000;
const names = Array.from({ length: KEYS }, (_, n) => `k${n}`);

async function fill(kv: KVStore): Promise<void> {
  await kv.mset(Object.fromEntries(names.map((name, n) => [name, n])));
}

/** Scans; `meddle` happens once, after about so many keys. */
async function scanned(kv: KVStore, after: number, meddle: () => Promise<unknown>): Promise<Set<string>> {
  const seen = new Set<string>();
  let meddled = false;
  for await (const key of kv.scan()) {
    seen.add(key);
    if (!meddled && seen.size > after) {
      meddled = true;
      await meddle();
    }
  }
  expect(meddled).toBe(true);
  return seen;
}

const missing = (seen: Set<string>): string[] => names.filter((name) => !seen.has(name));

it('a scan of a cluster misses nothing over a planned failover, over slots that move, and over keys that are on the move', async () => {
  const cluster = await ReplicatedCluster.start();
  open.push(cluster);
  const [first, , last, successor] = cluster.nodes as [
    ReplicatedCluster['nodes'][0],
    unknown,
    ReplicatedCluster['nodes'][0],
    ReplicatedCluster['nodes'][0],
  ];
  const kv = new KVStore(rig.manager({ url: cluster.url, namespace: 'a' }));
  await fill(kv);

  const failedOver = await scanned(kv, 600, () => cluster.failover(successor));
  expect(missing(failedOver)).toEqual([]);

  // Of the last master to the first, which has been walked over by then.
  const top = Array.from({ length: 20 }, (_, n) => 16_383 - n);
  const moved = await scanned(kv, 4_500, async () => {
    for (const slot of top) await cluster.move(slot, last, successor);
  });
  expect(missing(moved)).toEqual([]);

  // They stay on the move: half of the way before, the rest meanwhile, and nobody ends it.
  const between = Array.from({ length: 10 }, (_, n) => 16_000 - n);
  for (const slot of between) await cluster.open(slot, last, successor);
  for (const slot of between.slice(5)) await cluster.moveKeys(slot, last, successor);
  const moving = await scanned(kv, 4_500, async () => {
    for (const slot of between.slice(0, 5)) await cluster.moveKeys(slot, last, successor);
  });
  expect(missing(moving)).toEqual([]);

  // Over the death of a master whose replica takes over.
  for (const slot of between) await cluster.close(slot, successor);
  await cluster.agreed();
  const died = await scanned(kv, 600, async () => {
    await successor.kill9();
    await until(async () => (await cluster.masters()).includes(first), { timeoutMs: 30_000, what: 'the replica to take over' });
  });
  expect(missing(died)).toEqual([]);
});

it('a clear of a cluster leaves nothing after a failover that nobody has met yet, nor during one', async () => {
  const cluster = await ReplicatedCluster.start();
  open.push(cluster);
  const kv = new KVStore(rig.manager({ url: cluster.url, namespace: 'a' }));
  const left = async () => (await kv.mget(names)).filter((value) => value !== null).length;
  await fill(kv);
  await cluster.failover(cluster.nodes[4] as never);
  expect(await kv.clear()).toBe(KEYS);
  expect(await left()).toBe(0);

  await fill(kv);
  await Promise.all([kv.clear(), cluster.failover(cluster.nodes[3] as never)]);
  expect(await left()).toBe(0);
});

it('a scan begins anew where the server is another process, and goes on where it is only another connection', async () => {
  const server = await rig.server({ durable: true });
  const manager = rig.manager({ url: server.url, namespace: 'a', reconnect: { minDelayMs: 5, maxDelayMs: 50 } });
  const kv = new KVStore(manager);
  await fill(kv);
  const given: string[] = [];
  for await (const key of kv.scan()) {
    given.push(key);
    if (given.length === 2_000) await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
  }
  expect(missing(new Set(given))).toEqual([]);
  // Redis may give one twice, but not a third of them.
  expect(given.length).toBeLessThan(KEYS + 600);

  const restarted = await scanned(kv, 2_000, () => server.restart());
  expect(missing(restarted)).toEqual([]);
});

it('a scan under sentinels misses nothing over the death of the master', async () => {
  const topology = await Sentinels.start(1);
  open.push(topology);
  const manager = rig.manager({
    url: topology.url,
    namespace: 'a',
    commandTimeoutMs: 15_000,
    reconnect: { minDelayMs: 5, maxDelayMs: 100 },
  });
  const kv = new KVStore(manager);
  await fill(kv);
  const seen = await scanned(kv, 2_000, async () => {
    const before = await topology.named();
    await before.kill9();
    await topology.promoted(before);
  });
  expect(missing(seen)).toEqual([]);
});

it('a list of workers and the end of a queue pass over nothing where the server is restarted in the middle', async () => {
  const server = await rig.server({ durable: true });
  const proxy = await rig.proxy(server);
  const manager = rig.manager({ url: proxy.url, namespace: 'a', commandTimeoutMs: 10_000, reconnect: { minDelayMs: 5, maxDelayMs: 50 } });
  const registry = new WorkerRegistry(manager, { crashedAfterMs: 60_000 });
  await Promise.all(Array.from({ length: 2_000 }, (_, n) => registry.register({ id: `w${n}`, type: 't', capabilities: [] })));
  const queue = new TaskQueue('q', manager);
  for (let n = 0; n < 4; n += 1) await queue.addBulk(Array.from({ length: 1_000 }, () => ({ name: 'x', data: {} })));

  const restarting = async <T>(work: () => Promise<T>): Promise<T> => {
    const before = proxy.counters.up;
    proxy.set({ down: { delayMs: [50, 50] } });
    const result = work();
    // A call with its keys has more than one kilobyte.
    await until(() => proxy.counters.up > before + 4_000, { what: 'the first pages' });
    await server.restart();
    proxy.heal();
    return result;
  };
  const workers = await restarting(() => registry.list());
  expect(new Set(workers.map(({ id }) => id)).size).toBe(2_000);
  // It deletes, so a call that was cut may have done its part: whoever is told so calls again.
  const gone = () => queue.obliterate().then(() => true);
  await restarting(() => until(gone, { timeoutMs: 30_000, what: 'the queue to be gone' }));
  expect((await server.keys()).map(({ key }) => key).filter((key) => key.includes('~queue'))).toEqual([]);
  await registry.cleanup();
});
