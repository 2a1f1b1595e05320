import { createTestRedisConfig, RedisConnectionManager, RedisError } from 'redis-backplane';

describe('the connection manager in CommonJS under Jest', () => {
  const manager = new RedisConnectionManager(createTestRedisConfig());
  afterAll(() => manager.disconnect());

  it('connects at the first use and answers each caller its own', async () => {
    const replies = await Promise.all(Array.from({ length: 1_000 }, (_, i) => manager.command<string>('ECHO', `n${i}`)));
    expect(replies).toEqual(Array.from({ length: 1_000 }, (_, i) => `n${i}`));
  });

  it('rejects with an error that is an Error of this VM context', async () => {
    const error = await manager.command('INCR').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(Error);
    expect(error).toBeInstanceOf(RedisError);
    expect(error).toMatchObject({ redisErrorKind: 'server', code: 'ERR_REDIS_SERVER' });
  });

  it('throws a config error that names the option', () => {
    expect(() => new RedisConnectionManager({ port: -1 })).toThrow(RedisError);
    expect(() => new RedisConnectionManager({ port: -1 })).toThrow(/port/);
  });

  it('gives buffers of this VM context back as buffers', async () => {
    const key = `${createTestRedisConfig().namespace}:bytes`;
    await manager.command('SET', key, Buffer.from([0, 255, 1]));
    const bytes = await manager.command('GET', key);
    expect(Buffer.isBuffer(bytes)).toBe(true);
    expect(bytes).toEqual(Buffer.from([0, 255, 1]));
    await manager.command('DEL', key);
  });
});
