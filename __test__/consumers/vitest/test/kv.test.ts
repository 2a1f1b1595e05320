import { createTestRedisConfig, deduplicateEvent, KVStore, once, RedisConnectionManager, RedisError, retry } from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

describe.each(['redis-server', 'memory'])('the KV store of a consumer on %s', (kind) => {
  const overrides = kind === 'memory' ? { url: 'memory://consumer' } : {};
  const manager = new RedisConnectionManager(createTestRedisConfig(overrides));
  const kv = new KVStore(manager);
  beforeAll(() => manager.connect());
  afterAll(async () => {
    await kv.clear();
    await manager.disconnect();
  });

  it('keeps JSON values and bytes', async () => {
    await kv.set('user', { name: 'Ada', tags: ['a', 'ü'] }, 60);
    expect(await kv.get('user')).toEqual({ name: 'Ada', tags: ['a', 'ü'] });
    await kv.setBuffer('bytes', Uint8Array.of(0, 255));
    expect(await kv.getBuffer('bytes')).toEqual(Buffer.of(0, 255));
    expect(await kv.get('absent')).toBeNull();
  });

  it('counts fifty updates made at once', async () => {
    await Promise.all(Array.from({ length: 50 }, () => kv.update<number>('n', (n) => (n ?? 0) + 1, { maxAttempts: 1_000 })));
    expect(await kv.get('n')).toBe(50);
  });

  it('runs a function once among a hundred callers', async () => {
    let runs = 0;
    const results = await Promise.all(Array.from({ length: 100 }, () => once(kv, 'once', async () => ++runs, 60)));
    expect(results.filter((result) => result !== null)).toEqual([1]);
    expect(await deduplicateEvent(kv, 'e', 60)).toBe(true);
    expect(await deduplicateEvent(kv, 'e', 60)).toBe(false);
  });

  it('locks, and the second holder gets a higher token', async () => {
    const first = await kv.lock('lock');
    expect(await first.release()).toBe(true);
    const second = await kv.lock('lock');
    expect(second.token).toBeGreaterThan(first.token);
    await second.release();
  });

  it('refuses a value that JSON cannot express', async () => {
    const error = await kv.set('bad', () => {}).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RedisError);
    expect(error).toMatchObject({ redisErrorKind: 'serialization', delivery: 'not-sent' });
  });

  it('tries again', async () => {
    expect(await retry(async (attempt) => (attempt < 3 ? Promise.reject(new Error('no')) : attempt), { minDelayMs: 1 })).toBe(3);
  });
});
