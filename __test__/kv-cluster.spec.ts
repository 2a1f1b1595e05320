/** The KV store on a Redis Cluster: keys of one call may be of several slots, a key and the mark of its load are of one. */
import { KVStore, RedisConnectionManager } from 'redis-backplane';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { failureOf } from './support/failure.ts';
import { type RedisServer, startCluster } from './support/redis-server.ts';
import { stretched } from './support/starvation.ts';
import { until } from './support/until.ts';

const HOUR = 3_600;
let nodes: RedisServer[];
let manager: RedisConnectionManager;
let kv: KVStore;
beforeAll(async () => {
  nodes = await startCluster(3);
}, 60_000);
afterAll(async () => {
  for (const node of nodes) await node[Symbol.asyncDispose]();
});
beforeEach(() => {
  manager = new RedisConnectionManager({ url: `redis+cluster://127.0.0.1:${nodes[0]?.port}`, namespace: 'app' });
  kv = new KVStore(manager);
});
afterEach(() => manager.disconnect());

/** Their slots differ; the braces of some do not pair. */
const keys = ['a', 'b', 'c', 'user:{42}', '{x}y', 'a}b', '{c', '}'];

it('keys of several slots are set for a moment, counted and deleted', async () => {
  await kv.mset(
    keys.map((key): [string, unknown] => [key, key]),
    2.5,
  );
  for (const key of keys) expect(await kv.ttl(key)).toBeGreaterThan(0);
  expect(await kv.del(...keys, 'none')).toBe(keys.length);
  for (const key of keys) {
    await kv.set(key, key, 1);
    expect(await kv.expire(key, 1)).toBe(true);
    expect(await kv.cas(key, key, 'next', 1)).toBe(true);
    expect(await kv.getDel(key)).toBe('next');
    expect(await kv.del(key)).toBe(0);
  }
});

it('keys of several slots are set for longer than a load takes, each with its end', async () => {
  const entries = keys.map((key): [string, unknown] => [key, key]);
  await kv.mset(entries, HOUR);
  for (const key of keys) {
    expect(await kv.get(key)).toBe(key);
    const left = (await kv.ttl(key)) as number;
    expect([left > HOUR - 60, left <= HOUR]).toEqual([true, true]);
  }
  // One node takes no more: what that one refuses is an error, though the others have written.
  await nodes[0]?.cli('CONFIG', 'SET', 'maxmemory', 1);
  try {
    expect(await failureOf(kv.mset(entries, HOUR))).toMatchObject({ redisErrorKind: 'server', delivery: 'maybe-executed' });
  } finally {
    await nodes[0]?.cli('CONFIG', 'SET', 'maxmemory', 0);
  }
  expect(await kv.del(...keys)).toBe(keys.length);
});

it('what was loaded before a deletion is not stored', async () => {
  for (const key of ['a', 'b', 'user:{42}', '{x}y']) {
    for (const del of [() => kv.del(key), () => kv.del('none', key), () => kv.set(key, 'new', 0.001)]) {
      const load = async () => {
        await del();
        return 'old';
      };
      expect(await kv.getOrSet(key, load, { ttlSec: HOUR })).toBe('old');
      expect(await kv.get(key)).not.toBe('old');
      await kv.del(key);
    }
  }
});

it('whoever waits for a lock hears of its release, whatever node has it', async () => {
  const other = new RedisConnectionManager({ url: `redis+cluster://127.0.0.1:${nodes[0]?.port}`, namespace: 'app' });
  try {
    const waiting = new KVStore(other);
    const held = await Promise.all(keys.map((key) => kv.lock(`lock:${key}`)));
    const taken = keys.map((key) => waiting.lock(`lock:${key}`, { waitMs: 30_000 }));
    const scriptsRun = async () => {
      const stats = await Promise.all(nodes.map((node) => node.cli('INFO', 'commandstats')));
      const calls = stats.flatMap((text) => [...String(text).matchAll(/cmdstat_evalsha:calls=(\d+)/g)]);
      return calls.reduce((sum, [, count]) => sum + Number(count), 0);
    };
    // Whoever hears of the end asks no more until then, or for seconds.
    await until(
      async () => {
        const before = await scriptsRun();
        await new Promise((resolve) => setTimeout(resolve, 600));
        return (await scriptsRun()) - before <= 2;
      },
      { what: 'the waiting to be heard of', timeoutMs: 20_000 },
    );
    const released = Date.now();
    await Promise.all(held.map((lock) => lock.release()));
    const locks = await Promise.all(taken);
    expect(Date.now() - released).toBeLessThan(stretched(1_500));
    await Promise.all(locks.map((lock) => lock.release()));
  } finally {
    await other.disconnect();
  }
}, 60_000);
