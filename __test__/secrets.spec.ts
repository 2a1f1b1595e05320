/** A password appears nowhere but on the wire to the server. */
import { randomUUID } from 'node:crypto';
import * as diagnostics from 'node:diagnostics_channel';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { MessageBus, RedisConnectionManager, redisConfigFromEnv } from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakeServer } from './support/fake-server.ts';
import { checkLeaks } from './support/leaks.ts';
import { freePort } from './support/port.ts';
import { runProcess } from './support/process.ts';
import { RedisServer } from './support/redis-server.ts';
import { TcpProxy } from './support/tcp-proxy.ts';
import { until } from './support/until.ts';
import { watchedFolder } from './support/watched.ts';

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

describe('a password that the server or a proxy repeats', () => {
  const encoded = encodeURIComponent(SECRET);

  type Call = (manager: RedisConnectionManager, bus: MessageBus) => Promise<unknown>;
  const calls: [string, string[], Call][] = [
    ['the handshake', ['HELLO', 'AUTH'], (manager) => manager.connect()],
    ['a command', ['GET'], (manager) => manager.command('GET', 'k')],
    ['a transaction', ['EXEC'], (manager) => manager.transaction([['PING']])],
    ['a blocking command', ['BLPOP'], (manager) => manager.command('BLPOP', 'k', 1)],
    ['a subscription', ['SUBSCRIBE'], (_, bus) => bus.subscribe('t', () => {})],
  ];

  it.each(calls)('in its answer to %s is in no error, no cause, no event and no trace', async (_, names, call) => {
    await using fake = await FakeServer.start(([name = '']) => {
      if (names.includes(name)) return `-ERR not with ${SECRET}, said ${SECRET}\r\n`;
      if (name === 'AUTH' || name === 'MULTI') return '+OK\r\n';
      if (name === 'INFO') return '$0\r\n\r\n';
      // Whatever else it is asked, such as whether it is writable, it answers.
      return ['HELLO', 'PING', 'CLIENT', 'SELECT'].includes(name) ? undefined : '-ERR unknown command\r\n';
    });
    const traced: unknown[] = [];
    const channels = ['redis-backplane:error', 'tracing:redis-backplane:command:error', 'tracing:redis-backplane:connect:error'];
    const note = (message: unknown): void => void traced.push(message);
    for (const name of channels) diagnostics.subscribe(name, note);
    for (const config of [
      { url: fake.url, password: SECRET },
      { url: fake.url, password: async () => SECRET },
      { url: fake.url, username: 'alice', password: SECRET },
      fake.url.replace('//', `//alice:${encoded}@`),
    ]) {
      const manager = new RedisConnectionManager(config);
      const bus = new MessageBus(manager);
      const events: unknown[] = [];
      manager.on('error', (error) => events.push(error));
      const error = await call(manager, bus).catch((e: unknown) => e);
      expect((error as Error).message).toContain('[redacted]');
      for (const each of [error, ...events]) expectErrorClean('error', each);
      expectNoSecret('health', JSON.stringify(await manager.health()));
      expectManagerClean(manager);
      await bus.close();
      await manager.disconnect();
    }
    for (const name of channels) diagnostics.unsubscribe(name, note);
    for (const message of traced) expectNoSecret('trace', message);
  });

  it('in the answer of a sentinel is in no error', async () => {
    await using fake = await FakeServer.start(([name]) => (name === 'AUTH' ? `-ERR bad ${SECRET}\r\n` : undefined));
    const manager = new RedisConnectionManager({ url: fake.url.replace('redis:', 'redis+sentinel:'), sentinelPassword: SECRET });
    const error = await manager.connect().catch((e: unknown) => e);
    expectErrorClean('sentinel', error);
    await manager.disconnect();
  });
});

describe('the heap of JavaScript', () => {
  it('holds no password once what was built from it is there: of a URL, an option, a sentinel, a suite or a container', async () => {
    const folder = watchedFolder();
    const file = join(folder, 'secret');
    const [secret, kept] = [`pw-${randomUUID()}`, `kept-${randomUUID()}`];
    writeFileSync(file, secret);
    writeFileSync(`${file}.kept`, kept);
    const snapshot = join(folder, 'heap');
    const ended = await runProcess<{ file: string; snapshot: string; port: number }>(
      async ({ redis, args, emit }) => {
        const { readFileSync } = require('node:fs') as typeof import('node:fs');
        const { writeHeapSnapshot } = require('node:v8') as typeof import('node:v8');
        const made: unknown[] = [];
        const build = async (): Promise<void> => {
          const secret = readFileSync(args.file, 'utf8');
          // Shows that the snapshot shows what is held.
          made.push(readFileSync(`${args.file}.kept`, 'utf8'));
          // Long enough that V8 would keep the whole URL for a part of it.
          const address = `localhost.localdomain.invalid:${args.port}`;
          const url = `redis://alice:${secret}@${address}/0`;
          made.push(new redis.RedisConnectionManager(url), new redis.RedisConnectionManager({ url, clientName: 'c' }));
          made.push(new redis.RedisConnectionManager({ port: args.port, username: 'alice', password: secret }));
          const sentinel = `redis+sentinel://alice:${secret}@${address}/main`;
          made.push(new redis.RedisConnectionManager({ url: sentinel, sentinelPassword: secret }));
          made.push(new redis.RedisConnectionManager(`redis+cluster://alice:${secret}@${address}`));
          // They fail: nobody answers there.
          made.push(...(await Promise.allSettled([redis.makeRedisSuite(url), redis.createContainer({ redisUrl: url })])));
          made.push(await redis.createContainer({ redisUrl: `memory://u:${secret}@heap` }).catch((error: unknown) => error));
          made.push(await redis.makeRedisSuite(`memory://u:${secret}@heap`).catch((error: unknown) => error));
        };
        await build();
        writeHeapSnapshot(args.snapshot);
        emit(made.length);
        process.exit(0);
      },
      { args: { file, snapshot, port: await freePort() }, timeoutMs: 50_000 },
    );
    expect(ended.lines, ended.stderr).toEqual([10]);
    const heap = readFileSync(snapshot, 'utf8');
    expect(heap.includes(kept)).toBe(true);
    expect(heap.includes(secret)).toBe(false);
  });
});
