/** `makeRedisSuite`: one manager under the names of three. */
import { makeRedisSuite } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from './support/backends.ts';
import { failureOf } from './support/failure.ts';
import { RedisServer } from './support/redis-server.ts';

describeBackends('makeRedisSuite', (backend) => {
  test('gives what is connected at once, for every purpose, and ends it with one call', async () => {
    const suite = await makeRedisSuite({ url: backend.url, namespace: backend.namespace });
    expect(suite.base.state).toBe('ready');
    expect(await Promise.all([suite.pub, suite.sub].map((manager) => manager.command('PING')))).toEqual(['PONG', 'PONG']);
    await suite.disconnect();
    expect(suite.base.state).toBe('closed');
    {
      await using again = await makeRedisSuite(backend.url);
      expect(again.base.isConnected()).toBe(true);
    }
  });
});

test('a suite that cannot be had rejects, and leaves no connection open', async () => {
  await using server = await RedisServer.start({ acl: ['blind on >secret ~* &* +@all -ping -@connection'] });
  const url = server.url.replace('://', '://blind:wrong@');
  expect(await failureOf(makeRedisSuite(url))).toMatchObject({ redisErrorKind: 'auth' });
  expect(await server.clients()).toEqual([]);
});
