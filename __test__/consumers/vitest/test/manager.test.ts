import { createTestRedisConfig, makeRedisSuite, RedisConnectionManager, RedisError } from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

describe('the connection manager in an ES module under Vitest', () => {
  const manager = new RedisConnectionManager(createTestRedisConfig());
  beforeAll(() => manager.connect());
  afterAll(() => manager.disconnect());

  it('sends commands and gives replies', async () => {
    const key = `${createTestRedisConfig().namespace}:greeting`;
    expect(await manager.command('SET', key, 'hello', 'EX', 60)).toBe('OK');
    expect(await manager.command<string>('GET', key)).toBe('hello');
    expect(await manager.command<number>('DEL', key)).toBe(1);
  });

  it('answers a thousand commands at once, each caller its own', async () => {
    const replies = await Promise.all(Array.from({ length: 1_000 }, (_, i) => manager.command<string>('ECHO', `n${i}`)));
    expect(replies).toEqual(Array.from({ length: 1_000 }, (_, i) => `n${i}`));
  });

  it('rejects with an error that is an Error and a RedisError in the test context', async () => {
    const error = await manager.command('INCR').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RedisError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ redisErrorKind: 'server', serverCode: 'ERR', delivery: 'rejected' });
  });

  it('gives a suite that is connected', async () => {
    const suite = await makeRedisSuite(createTestRedisConfig());
    expect(suite.base.isConnected()).toBe(true);
    await suite.disconnect();
    expect(suite.base.state).toBe('closed');
  });

  it('leaves a connection open that must not keep the process alive', async () => {
    const idle = new RedisConnectionManager(createTestRedisConfig({ clientName: 'left-open' }));
    await idle.connect();
    expect(idle.state).toBe('ready');
  });
});
