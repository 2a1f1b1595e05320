import { createTestRedisConfig, makeRedisSuite, RedisConnectionManager } from 'redis-backplane';

describe('a second test file in the same worker', () => {
  it('loads the package anew and connects', async () => {
    const suite = await makeRedisSuite(createTestRedisConfig());
    expect(await suite.base.ping()).toBeGreaterThan(0);
    expect(await suite.base.health()).toMatchObject({ ok: true, state: 'ready' });
    await suite.disconnect();
  });

  it('leaves a connection open that must not keep Jest from ending', async () => {
    const idle = new RedisConnectionManager(createTestRedisConfig());
    await idle.connect();
    expect(idle.isConnected()).toBe(true);
  });
});
