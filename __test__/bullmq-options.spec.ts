/** The options with which BullMQ makes connections of its own. */
import { inspect } from 'node:util';
import { bullmqOptions, type RedisConfig, RedisConnectionManager, RedisError } from 'redis-backplane';
import { expect, it } from 'vitest';

const optionsOf = (config: RedisConfig | string) => bullmqOptions(new RedisConnectionManager(config));
const always = { connectTimeout: 10_000, keepAlive: 10_000, maxRetriesPerRequest: null };

it('nothing configured is the local server', () => {
  expect(optionsOf({})).toEqual({ host: '127.0.0.1', port: 6379, ...always });
});

it('a URL comes apart; what is given beside it wins', () => {
  expect(optionsOf({ url: 'rediss://us%20er:p%40ss%2F@h:7000/3', db: 4, connectTimeoutMs: 1_500, keepAliveMs: 2_000 })).toEqual({
    host: 'h',
    port: 7000,
    db: 4,
    username: 'us er',
    password: 'p@ss/',
    tls: {},
    connectTimeout: 1_500,
    keepAlive: 2_000,
    maxRetriesPerRequest: null,
  });
});

it('a Unix socket is a path', () => {
  expect(optionsOf({ path: '/run/redis.sock', password: 'p' })).toEqual({ path: '/run/redis.sock', password: 'p', ...always });
});

it('TLS options are those of node:tls', () => {
  const tls = { servername: 'redis.internal', rejectUnauthorized: false };
  expect(optionsOf({ host: 'h', tls }).tls).toEqual(tls);
  expect(optionsOf({ host: 'h', tls: true }).tls).toEqual({});
  expect(optionsOf({ host: 'h' })).not.toHaveProperty('tls');
});

it('sentinels come with their own credentials', () => {
  const config: RedisConfig = { url: 'redis+sentinel://u:p@a:1,b:2/main', sentinelUsername: 's', sentinelPassword: 'q', db: 1 };
  expect(optionsOf(config)).toEqual({
    sentinels: [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ],
    name: 'main',
    username: 'u',
    password: 'p',
    sentinelUsername: 's',
    sentinelPassword: 'q',
    db: 1,
    ...always,
  });
  expect(optionsOf('rediss+sentinel://a:1/main')).toMatchObject({ tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true });
});

it('nothing of this package is in them: no prefix, no strategy that ends reconnecting', () => {
  const options = optionsOf({ url: 'redis://h', namespace: 'app', reconnect: { maxAttempts: 1 } });
  for (const name of ['keyPrefix', 'retryStrategy', 'namespace', 'commandTimeout']) expect(options).not.toHaveProperty(name);
});

it.each([
  ['memory://x', /memory:\/\/.*use bullmqConnection\(manager\)/],
  ['redis+cluster://:hunter2@h', /cluster.*use bullmqConnection\(manager\)/],
  [{ password: () => 'hunter2' }, /RedisConfig\.password: expected a string, got a function.*use bullmqConnection\(manager\)/],
])('what such options cannot say is refused: %j', (config, message) => {
  const refused = () => optionsOf(config as RedisConfig);
  expect(refused).toThrow(RedisError);
  expect(refused).toThrow(message);
  expect(refused).not.toThrow(/hunter2/);
});

it('what is no manager is refused', () => {
  expect(() => bullmqOptions({} as never)).toThrow(
    /bullmqOptions: manager: expected a RedisConnectionManager of this package.*, got an object/,
  );
});

it('the secrets leave by this call and by no other', () => {
  const manager = new RedisConnectionManager({
    url: 'redis+sentinel://u:hunter2@a/main',
    sentinelPassword: 'hunter3',
  });
  expect(bullmqOptions(manager)).toMatchObject({ password: 'hunter2', sentinelPassword: 'hunter3' });
  const shown = [
    inspect(manager, { depth: 20, showHidden: true }),
    JSON.stringify(manager),
    JSON.stringify(manager.metrics()),
    manager.prometheus(),
  ];
  for (const text of shown) expect(text).not.toMatch(/hunter/);
});
