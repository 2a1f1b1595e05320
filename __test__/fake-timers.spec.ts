import { createTestRedisConfig, makeRedisKV, RedisConnectionManager } from 'redis-backplane';
import { afterEach, describe, expect, it, vi } from 'vitest';

describe('fake timers', () => {
  afterEach(() => void vi.useRealTimers());

  it('stop nothing of the package, timers, microtasks and clocks alike', async () => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Date', 'performance'],
    });
    const redis = new RedisConnectionManager(createTestRedisConfig({ url: 'memory://' }));
    const kv = makeRedisKV(redis);
    await kv.set('key', { n: 1 }, 60);
    expect(await kv.get('key')).toEqual({ n: 1 });
    const lock = await kv.lock('job');
    expect(await lock.release()).toBe(true);
    await redis.disconnect();
    expect(redis.state).toBe('closed');
  });
});
