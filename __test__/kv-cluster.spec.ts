/** The KV store on a Redis Cluster: keys of one call may be of several slots, a key and the mark of its load are of one. */
import { KVStore, RedisConnectionManager } from 'redis-backplane';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { failureOf } from './support/failure.ts';
import { type RedisServer, startCluster } from './support/redis-server.ts';

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
