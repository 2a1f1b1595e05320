/** A password appears nowhere but on the wire to the server. */
import { inspect } from 'node:util';
import { RedisConnectionManager, redisConfigFromEnv } from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkLeaks } from './support/leaks.ts';
import { RedisServer } from './support/redis-server.ts';
import { TcpProxy } from './support/tcp-proxy.ts';
import { until } from './support/until.ts';

// Such that its forms in a URL, in JSON and in base64 differ from it.
const SECRET = 'pa%ss/w"rd@Ünïque';
const FORMS = [
  SECRET,
  encodeURIComponent(SECRET),
  encodeURI(SECRET),
  JSON.stringify(SECRET).slice(1, -1),
  Buffer.from(SECRET).toString('base64'),
  'nïque',
];

function expectNoSecret(what: string, shown: unknown): void {
  const text = typeof shown === 'string' ? shown : inspect(shown, { depth: Infinity, showHidden: true, getters: true });
  for (const form of FORMS) expect(text, what).not.toContain(form);
}

/** Everything of an error that may be printed, its causes included. */
function expectErrorClean(what: string, error: unknown): void {
  for (let e = error as Error | undefined; e; e = e.cause as Error | undefined) {
    expectNoSecret(`${what}: message`, e.message);
    expectNoSecret(`${what}: stack`, e.stack ?? '');
    expectNoSecret(`${what}: JSON`, JSON.stringify(e));
    expectNoSecret(`${what}: inspect`, e);
  }
}

/** Everything of a manager that may be printed. */
function expectManagerClean(manager: RedisConnectionManager): void {
  expectNoSecret('inspect', manager);
  expectNoSecret('inspect without custom inspection', inspect(manager, { depth: Infinity, showHidden: true, customInspect: false }));
  expectNoSecret('JSON', String(JSON.stringify(manager)));
  expectNoSecret('text', String(manager));
  expectNoSecret('metrics', JSON.stringify(manager.metrics()));
  expectNoSecret('prometheus', manager.prometheus());
}

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start({ password: 'right' });
  await server.cli('ACL', 'SETUSER', 'alice', 'on', `>${SECRET}`, '~*', '&*', '+@all');
});
afterAll(() => server[Symbol.asyncDispose]());

describe('a password', () => {
  checkLeaks({ server: () => server });

  const encoded = encodeURIComponent(SECRET);
  const forms: [string, () => ConstructorParameters<typeof RedisConnectionManager>[0]][] = [
    ['as an option', () => ({ port: server.port, username: 'alice', password: SECRET })],
    ['from a function', () => ({ port: server.port, username: 'alice', password: async () => SECRET })],
    ['in a URL', () => `redis://alice:${encoded}@127.0.0.1:${server.port}`],
    [
      'from the environment',
      () =>
        redisConfigFromEnv({ REDIS_HOST: '127.0.0.1', REDIS_PORT: String(server.port), REDIS_USERNAME: 'alice', REDIS_PASSWORD: SECRET }) ??
        {},
    ],
  ];

  it.each(forms)('given %s works and is shown by nothing of the manager', async (_, config) => {
    const manager = new RedisConnectionManager(config());
    expectManagerClean(manager);
    await manager.connect();
    expectManagerClean(manager);
    expectNoSecret('health', JSON.stringify(await manager.health()));
    expectNoSecret('CLIENT LIST', JSON.stringify(await server.clients()));
    await manager.disconnect();
    expectManagerClean(manager);
  });

  it.each([
    ['as an option', (port: number) => ({ port, username: 'nobody', password: SECRET })],
    ['from a function', (port: number) => ({ port, username: 'nobody', password: () => SECRET })],
    ['in a URL', (port: number) => `redis://nobody:${encoded}@127.0.0.1:${port}`],
  ])('that the server refuses, given %s, is not in the error nor in an event', async (_, config) => {
    const manager = new RedisConnectionManager(config(server.port));
    const events: unknown[] = [];
    for (const name of ['state', 'ready', 'reconnecting', 'error', 'end'] as const)
      manager.on(name, (...args: unknown[]) => events.push(name, ...args));
    const error = await manager.connect().catch((e: unknown) => e);
    expect(error).toMatchObject({ redisErrorKind: 'auth' });
    expectErrorClean('refused password', error);
    for (const event of events) expectNoSecret('event', event);
    expectNoSecret('health', JSON.stringify(await manager.health()));
    expectManagerClean(manager);
    await manager.disconnect();
  });

  it('is not in the error for a server that is not there, nor for a lost connection', async () => {
    await using proxy = await TcpProxy.start(server);
    const events: unknown[] = [];
    const manager = new RedisConnectionManager(`redis://alice:${encoded}@127.0.0.1:${proxy.port}`);
    manager.on('error', (error) => events.push(error));
    await proxy.refuse();
    expectErrorClean('refused connection', await manager.connect().catch((e: unknown) => e));
    await proxy.accept();
    await manager.connect();
    proxy.set({ down: { dropAfterBytes: 0 } });
    expectErrorClean('lost connection', await manager.command('INCR', 'n').catch((e: unknown) => e));
    proxy.heal();
    await until(() => manager.isConnected(), { what: 'the connection to be restored' });
    expect(events.length).toBeGreaterThan(0);
    for (const event of events) expectErrorClean('event', event);
    await server.cli('DEL', 'n');
    await manager.disconnect();
  });

  it.each([
    `redis://alice:${encoded}@127.0.0.1:notaport`,
    `redis://alice:${encoded}@127.0.0.1:99999`,
    `http://alice:${encoded}@127.0.0.1`,
    `redis://alice:${encoded}@127.0.0.1/notadb`,
    `redis://alice:${encoded}@127.0.0.1/0?nonsense=${encoded}`,
    `alice:${encoded}`,
    `redis://alice:${SECRET}@[::1`,
  ])('in a URL that is refused is not in the error', (url) => {
    for (const config of [url, { url }]) {
      let error: unknown;
      try {
        new RedisConnectionManager(config);
      } catch (e) {
        error = e;
      }
      expect(error, 'the URL must be refused').toMatchObject({ redisErrorKind: 'config' });
      expectErrorClean('refused URL', error);
    }
  });

  it('of a wrong type, or next to a wrong option, is not in the error', () => {
    for (const config of [
      { password: { secret: SECRET } },
      { password: [SECRET] },
      { password: SECRET, port: -1 },
      { password: SECRET, username: 7 },
      { password: SECRET, [SECRET.slice(0, 3)]: 1 },
    ]) {
      let error: unknown;
      try {
        new RedisConnectionManager(config as never);
      } catch (e) {
        error = e;
      }
      expect(error).toMatchObject({ redisErrorKind: 'config' });
      expectErrorClean('refused option', error);
    }
  });

  it('function that throws its own secret does not spread it', async () => {
    const manager = new RedisConnectionManager({
      port: server.port,
      username: 'alice',
      password: () => {
        throw new Error(`vault says: ${SECRET}`);
      },
    });
    const error = await manager.connect().catch((e: unknown) => e);
    expect(error).toMatchObject({ redisErrorKind: expect.stringMatching(/auth|config|connection/) });
    expectErrorClean('throwing function', error);
    await manager.disconnect();
  });

  it('sent by the user in a command that fails is not in the error', async () => {
    const manager = new RedisConnectionManager({ port: server.port, username: 'alice', password: SECRET });
    expectErrorClean('failed command', await manager.command('SET', 'k', SECRET, 'NONSENSE').catch((e: unknown) => e));
    expectErrorClean('refused command', await manager.command('AUTH', 'alice', SECRET).catch((e: unknown) => e));
    await manager.disconnect();
  });
});
