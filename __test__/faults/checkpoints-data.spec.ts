/** Checkpoints when many write at once, and when Redis forgets, evicts, expires or removes what is there. */
import { type CheckpointInfo, CheckpointStore, type CheckpointStoreOptions, RedisError } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { startOwner, startResumer, told } from '../support/checkpoint-processes.ts';
import { allOf, loadAll, taken } from '../support/checkpoints.ts';
import { refusalOf } from '../support/failure.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const RECONNECT = { minDelayMs: 1, maxDelayMs: 50 };

function storeOf(url: string, options?: CheckpointStoreOptions): CheckpointStore {
  return new CheckpointStore(rig.manager({ url, reconnect: RECONNECT }), options);
}

/** The key that holds `part` of a thread, or of its share. */
async function keyOf(server: RedisServer, part: string): Promise<string> {
  const keys = (await server.keys()).map(({ key }) => key).filter((key) => key.includes(`}:${part}`));
  expect(keys).toHaveLength(1);
  return keys[0] as string;
}

describe('two writers that name the parent', () => {
  it('make one chain in 10 000 attempts, of which each is a save or a conflict', { timeout: 120_000 }, async () => {
    const { url } = await rig.server();
    const managers = [rig.manager({ url }), rig.manager({ url })];
    const options = { keep: { last: 20_000 } };
    const counts = { attempts: 0, saved: 0, conflicts: 0 };
    const write = async (store: CheckpointStore, by: number): Promise<void> => {
      let parent: string | null = null;
      while (counts.attempts < 10_000) {
        counts.attempts++;
        try {
          const info: CheckpointInfo = await store.save('t', { by }, { parent });
          counts.saved++;
          parent = info.id;
        } catch (error) {
          if (!(error instanceof RedisError) || error.redisErrorKind !== 'conflict') throw error;
          counts.conflicts++;
          parent = (await store.latest('t'))?.id ?? null;
        }
      }
    };
    await Promise.all(managers.map((manager, by) => write(new CheckpointStore(manager, options), by)));
    expect(counts.saved + counts.conflicts).toBe(10_000);
    expect(Math.min(counts.saved, counts.conflicts)).toBeGreaterThan(0);
    const chain = await allOf(storeOf(url, options).history('t'));
    expect(chain).toHaveLength(counts.saved);
    expect(chain.map(({ parent }) => parent)).toEqual([...chain.slice(1).map(({ id }) => id), null]);
    const metric = (name: 'redis_checkpoint_saves_total' | 'redis_checkpoint_conflicts_total') =>
      managers.reduce((sum, manager) => sum + manager.metrics()[name], 0);
    expect([metric('redis_checkpoint_saves_total'), metric('redis_checkpoint_conflicts_total')]).toEqual([counts.saved, counts.conflicts]);
  });
});

describe('a run whose thread Redis has lost', () => {
  /** What loses it, and how many checkpoints are left. */
  const losses: [what: string, lose: (server: RedisServer) => Promise<unknown>, left: number][] = [
    ['to FLUSHALL', (server) => server.cli('FLUSHALL'), 0],
    ['to a restart without data', async (server) => [await server.kill9(), await server.restart()], 0],
    ['with the key of its states', async (server) => server.cli('DEL', await keyOf(server, 'state:')), 0],
    ['with the key of their order', async (server) => server.cli('DEL', await keyOf(server, 'order:')), 0],
    ["with the share's list of threads", async (server) => server.cli('DEL', await keyOf(server, 'threads')), 3],
    ["with the share's list of owned threads", async (server) => server.cli('DEL', await keyOf(server, 'due')), 3],
  ];
  for (const [what, lose, left] of losses) {
    it(`${what} writes its whole state again, and nothing is there that cannot be loaded`, async () => {
      const server = await rig.server();
      const [store, other] = [storeOf(server.url), storeOf(server.url)];
      const run = await taken(store.acquire<{ n: number }>('t', { leaseMs: 3_000 }));
      for (let n = 0; n < 3; n++) await run.save({ n });
      await lose(server);
      const found = await until(async () => ({ all: await loadAll<{ n: number }>(other, 't') }), { what: 'the server', timeoutMs: 15_000 });
      expect(found.all).toHaveLength(left);
      expect(await other.latest('t')).toEqual(found.all[0] ?? null);
      const info = await run.save({ n: 3 });
      expect(info.parent).toBe(found.all[0]?.id ?? null);
      expect((await loadAll<{ n: number }>(other, 't')).map(({ state }) => state.n)).toEqual([3, ...found.all.map(({ state }) => state.n)]);
      // It is the owner's as before, in every list.
      expect(await other.acquire('t')).toBeNull();
      expect(await allOf(other.threads())).toEqual(['t']);
      await refusalOf(other.save('t', { n: -1 }), 'lease-lost');
      await run.save({ n: 4 });
      expect(run.signal.aborted).toBe(false);
      await run.finish();
      expect(await other.latest('t')).toMatchObject({ state: { n: 4 } });
    });
  }

  it('and that another one has since is refused, however little that one left', async () => {
    const server = await rig.server();
    const [store, other] = [storeOf(server.url), storeOf(server.url)];
    const run = await taken(store.acquire('t', { leaseMs: 60_000 }));
    await run.save({ n: 0 });
    await server.cli('FLUSHALL');
    const next = await taken(other.acquire('t'));
    expect(next.fence).toBeGreaterThan(run.fence);
    await refusalOf(run.save({ n: 1 }), 'lease-lost');
    await refusalOf(run.finish(), 'lease-lost');
    await next.save({ n: 2 });
    await next.finish();
    expect((await loadAll(other, 't')).map(({ state }) => state)).toEqual([{ n: 2 }]);
  });
});

describe('lists of a share that Redis has lost', () => {
  const lists = [['due'], ['workers'], ['threads'], ['due', 'workers']];
  for (const names of lists) {
    it(`(${names.join(' and ')}) hide no thread whose owner is dead from those who take over`, async () => {
      const server = await rig.server();
      const { url } = server;
      const victim = startOwner({ url, threads: ['t'], leaseMs: 1_000, worker: 'w' });
      await victim.line<{ owns: string }>((line) => 'owns' in line);
      await victim.kill9();
      for (const name of names) expect(await server.cli('DEL', await keyOf(server, name))).toBe(1);
      const heir = startResumer({ url });
      await until(() => told(heir, 'finished').length === 1, { timeoutMs: 20_000, what: 'the thread in the other hand' });
      expect(told(heir, 'resumed')).toMatchObject([{ resumed: 't', attempt: 1 }]);
      await heir.kill9();
    });
  }

  it('are made again with every owned thread of the share, whoever owns it', async () => {
    const server = await rig.server();
    const store = storeOf(server.url);
    const runs = await Promise.all(Array.from({ length: 200 }, (_, n) => taken(store.acquire(`t${n}`, { leaseMs: 60_000 }))));
    await Promise.all(Array.from({ length: 200 }, (_, n) => store.save(`idle-${n}`, n)));
    const due = (await server.keys()).map(({ key }) => key).filter((key) => key.endsWith(':due'));
    const content = () => Promise.all(due.map((key) => server.cli('ZRANGE', key, 0, -1, 'WITHSCORES')));
    const before = await content();
    expect(due.length).toBeGreaterThan(20);
    for (const key of due) await server.cli('DEL', key);
    expect(await store.interrupted()).toEqual([]);
    expect(await content()).toEqual(before);
    await Promise.all(runs.map((run) => run.finish()));
  });
});

describe('prune, expiry and removal during saves', () => {
  it('leave what is there complete and loadable: prune', { timeout: 60_000 }, async () => {
    const { url } = await rig.server();
    const [store, other] = [storeOf(url), storeOf(url)];
    const total = 1_000;
    let saving = true;
    let pruned = 0;
    const pruning = (async () => {
      while (saving) pruned += await other.prune('t', { last: 5 });
    })();
    const reading = (async () => {
      for (; saving; await new Promise((resolve) => setImmediate(resolve))) {
        const latest = await other.latest<{ n: number; text: string }>('t');
        if (latest !== null) expect(latest.state.text).toBe(`state ${latest.state.n}`);
        // One that the history names may be pruned before it is read, and then it is told as gone.
        for (const { id } of await allOf(other.history('t', { limit: 20 }))) {
          const found = await other.get<{ n: number; text: string }>('t', id);
          if (found !== null) expect(found.state.text).toBe(`state ${found.state.n}`);
        }
      }
    })();
    for (let n = 0; n < total; n++) await store.save('t', { n, text: `state ${n}` });
    saving = false;
    await Promise.all([pruning, reading]);
    pruned += await other.prune('t', { last: 5 });
    expect(pruned).toBe(total - 5);
    expect((await loadAll<{ n: number }>(store, 't')).map(({ state }) => state.n)).toEqual([999, 998, 997, 996, 995]);
  });

  it('leave what is there complete and loadable: removal, after which the thread begins anew', { timeout: 60_000 }, async () => {
    const { url } = await rig.server();
    const [store, other] = [storeOf(url), storeOf(url)];
    let saving = true;
    let removed = 0;
    const removing = (async () => {
      while (saving) if (await other.remove('t')) removed++;
    })();
    const saved: CheckpointInfo[] = [];
    for (let n = 0; n < 1_000; n++) {
      saved.push(await store.save('t', { n }));
      const latest = await other.latest<{ n: number }>('t');
      if (latest !== null) expect(latest.state.n).toBe(n);
    }
    saving = false;
    await removing;
    expect(removed).toBeGreaterThan(10);
    // A removed thread has no parents for what follows.
    expect(saved.filter(({ parent }) => parent === null).length).toBeGreaterThan(10);
    for (const [at, { parent }] of saved.entries()) expect([null, saved[at - 1]?.id]).toContain(parent);
    await store.remove('t');
    expect(await loadAll(store, 't')).toEqual([]);
  });

  it('tell an owner: removal of its thread', async () => {
    const { url } = await rig.server();
    const [store, other] = [storeOf(url), storeOf(url)];
    const run = await taken(store.acquire('t', { leaseMs: 600 }));
    await run.save({ n: 0 });
    expect(await other.remove('t')).toBe(true);
    await refusalOf(run.save({ n: 1 }), 'lease-lost');
    await until(() => run.signal.aborted, { what: 'the owner to be told' });
    expect(run.signal.reason).toMatchObject({ redisErrorKind: 'lease-lost' });
    expect(await other.latest('t')).toBeNull();
  });

  it('leave what is there complete and loadable: expiry, which spares what is saved or owned', async () => {
    const server = await rig.server();
    const store = storeOf(server.url, { ttlSec: 0.3 });
    const run = await taken(store.acquire<{ n: number }>('owned', { leaseMs: 1_500 }));
    const infos: CheckpointInfo[] = [];
    const begun = performance.now();
    infos.push(await run.save({ n: 0 }));
    await store.save('idle', {});
    for (let n = 0; performance.now() - begun < 2_000; n++) {
      infos.push(await store.save('busy', { n }));
      // Complete, or told as gone, where the machine was so slow that it expired.
      const latest = await store.latest<{ n: number }>('busy');
      if (latest !== null) expect(latest.state.n).toBe(n);
    }
    // Neither saved nor renewed for longer than its expiry, but owned.
    expect((await loadAll(store, 'owned')).map(({ id }) => id)).toEqual([infos[0]?.id]);
    expect(run.signal.aborted).toBe(false);
    expect(await store.latest('idle')).toBeNull();
    await run.save({ n: 1 });
    await run.finish();
    await until(async () => (await server.keys()).length === 0, { what: 'everything to expire' });
  });
});

describe('expiry', () => {
  it('leaves nothing in Redis: of owners alive and dead, of scopes, pins, pending writes and lists', async () => {
    const server = await rig.server();
    const { url } = server;
    const victim = startOwner({ url, threads: ['dead'], leaseMs: 200, ttlSec: 0.5, worker: 'w' });
    await victim.line<{ owns: string }>((line) => 'owns' in line);
    const store = storeOf(url, { ttlSec: 0.5 });
    for (const thread of ['a', 'b', 'c']) {
      const run = await taken(store.acquire(thread, { leaseMs: 200, worker: { id: 'w', epoch: 1 } }));
      await run.save({ n: 0 });
      const { id } = await run.save({ n: 1 });
      await run.finish();
      await store.save(thread, { n: 1 }, { scope: 's', id: 'x' });
      await store.addPending(thread, id, 'task', [['name', 1]]);
      await store.pin(thread, id);
    }
    await taken(store.acquire('empty', { leaseMs: 200 })).then((run) => run.pause());
    const abandoned = rig.manager({ url });
    await taken(new CheckpointStore(abandoned, { ttlSec: 0.5 }).acquire('abandoned', { leaseMs: 200 })).then((run) => run.save({ n: 0 }));
    await abandoned.disconnect();
    await victim.kill9();
    expect(await store.interrupted()).toBeInstanceOf(Array);
    const left = async () => (await server.keys()).map(({ key }) => key).filter((key) => key.includes('~checkpoints'));
    expect((await left()).length).toBeGreaterThan(5);
    await until(async () => (await left()).length === 0, { timeoutMs: 10_000, what: 'everything to expire' });
  });
});
