/** Who may come in, and how: passwords, ACL, TLS, Unix sockets. A refusal is said at once, and never with a secret. */
import { inspect } from 'node:util';
import type { RedisConfig } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { certificates } from '../support/certificates.ts';
import { failureOf } from '../support/failure.ts';
import { reaches, recordEvents, textOf, useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const SECRET = 'hunter2-s3cr3t';

/** Expects `connect()` to fail at once, for good, with `kind`, and to show no secret anywhere. */
async function expectRefused(config: RedisConfig, kind: string) {
  const manager = rig.manager({ connectTimeoutMs: 8_000, connectRetries: 50, ...config });
  const events = recordEvents(manager);
  const begin = performance.now();
  const error = await failureOf(manager.connect());
  expect(error.redisErrorKind, error.message).toBe(kind);
  expect(['not-sent', 'rejected']).toContain(error.delivery);
  expect(error.retryable).toBe(false);
  expect(performance.now() - begin).toBeLessThan(stretched(5_000));
  expect(manager.state).toBe('failed');
  await until(() => events.counts.end === 1, { what: "the event 'end'" });
  expect(events.reconnecting).toEqual([]);
  const shown = [
    textOf(error, (value) => inspect(value, { depth: 9, showHidden: true })),
    ...events.errors.map((told) => textOf(told, inspect)),
    inspect(manager, { depth: 9, showHidden: true }),
    JSON.stringify(manager),
    JSON.stringify(manager.metrics()),
    manager.prometheus(),
    JSON.stringify(await manager.health()),
  ].join('\n');
  expect(shown).not.toContain(SECRET);
  return error;
}

describe('a refused password', () => {
  it('rejects with kind auth and WRONGPASS at once, in the URL or beside it', async () => {
    const server = await rig.server({ password: 'right' });
    const { host, port } = server;
    expect((await expectRefused({ host, port, password: SECRET }, 'auth')).serverCode).toBe('WRONGPASS');
    await expectRefused({ url: `redis://:${SECRET}@${host}:${port}` }, 'auth');
    await expectRefused({ url: `redis://someone:${SECRET}@${host}:${port}` }, 'auth');
    await expectRefused({ host, port, username: 'nobody', password: SECRET }, 'auth');
    await expectRefused({ host, port, password: () => SECRET }, 'auth');
  });

  it('that is no well-formed text rejects with kind auth', async () => {
    const { host, port } = await rig.server({ password: 'right' });
    await expectRefused({ host, port, password: () => `${SECRET}\ud800` }, 'auth');
  });

  it('that is missing rejects with kind auth and NOAUTH', async () => {
    const server = await rig.server({ password: 'right' });
    const error = await expectRefused({ host: server.host, port: server.port }, 'auth');
    expect(error.serverCode).toBe('NOAUTH');
  });

  it('that the server does not need is taken as Redis takes it, and shown nowhere', async () => {
    const server = await rig.server();
    const manager = rig.manager({ host: server.host, port: server.port, password: SECRET });
    // Redis accepts any password for a default user that has none.
    await manager.connect();
    expect(inspect(manager, { depth: 9, showHidden: true })).not.toContain(SECRET);
    expect((await server.clients())[0]?.name).not.toContain(SECRET);
  });
});

describe('ACL', () => {
  it('that does not permit a command rejects it with kind auth and NOPERM, and harms no other', async () => {
    const server = await rig.server({ acl: [`reader on >${SECRET} ~app:* &* +@read +@connection`] });
    const manager = rig.manager({ url: server.url, username: 'reader', password: SECRET });
    await manager.connect();
    const command = await failureOf(manager.command('SET', 'app:k', 'v'));
    expect([command.redisErrorKind, command.serverCode, command.delivery, command.retryable]).toEqual([
      'auth',
      'NOPERM',
      'rejected',
      false,
    ]);
    const key = await failureOf(manager.command('GET', 'other:k'));
    expect([key.redisErrorKind, key.serverCode]).toEqual(['auth', 'NOPERM']);
    expect(await manager.command('GET', 'app:k')).toBeNull();
    expect(manager.state).toBe('ready');
  });

  it('with nothing but the wanted command is enough: name, library and PING may be forbidden', async () => {
    const server = await rig.server({ acl: [`least on >${SECRET} ~* +get +hello`] });
    const manager = rig.manager({ url: server.url, username: 'least', password: SECRET });
    await manager.connect();
    expect(await manager.command('GET', 'k')).toBeNull();
  });

  it('with the default user off refuses who has no user, and lets a user in', async () => {
    const server = await rig.server({ acl: ['default off', `alice on >${SECRET} ~* &* +@all`] });
    const { host, port } = server;
    await expectRefused({ host, port }, 'auth');
    await expectRefused({ host, port, password: SECRET }, 'auth');
    const manager = rig.manager({ host, port, username: 'alice', password: SECRET });
    expect(await manager.command('ACL', 'WHOAMI')).toBe('alice');
  });
});

describe('TLS', () => {
  it('with the right authority connects, by a rediss:// URL or the option', async () => {
    const server = await rig.server({ tls: true });
    const { ca } = await certificates();
    const byUrl = rig.manager({ url: server.url, tls: { ca: ca.cert } });
    expect(await byUrl.command('PING')).toBe('PONG');
    const byOption = rig.manager({ host: server.host, port: server.port, tls: { ca: Buffer.from(ca.cert) } });
    expect(await byOption.command('PING')).toBe('PONG');
  });

  it("with an untrusted certificate rejects with kind tls: a stranger's authority, and the public ones", async () => {
    const server = await rig.server({ tls: true, password: SECRET });
    const { strangerCa } = await certificates();
    await expectRefused({ url: server.url, tls: { ca: strangerCa.cert } }, 'tls');
    await expectRefused({ url: server.url }, 'tls');
  });

  it('with the wrong servername rejects with kind tls, and with the right one connects', async () => {
    const server = await rig.server({ tls: true });
    const { ca } = await certificates();
    await expectRefused({ url: server.url, tls: { ca: ca.cert, servername: 'elsewhere.example' } }, 'tls');
    const manager = rig.manager({ url: server.url, tls: { ca: ca.cert, servername: 'localhost' } });
    expect(await manager.command('PING')).toBe('PONG');
  });

  it('with rejectUnauthorized false accepts any certificate', async () => {
    const server = await rig.server({ tls: true });
    const manager = rig.manager({ url: server.url, tls: { rejectUnauthorized: false } });
    expect(await manager.command('PING')).toBe('PONG');
  });

  it('that demands a client certificate rejects who has none with kind tls, and lets in who has one', async () => {
    const server = await rig.server({ tls: 'mutual' });
    const { ca, client, strangerCa } = await certificates();
    await expectRefused({ url: server.url, tls: { ca: ca.cert } }, 'tls');
    await expectRefused({ url: server.url, tls: { ca: ca.cert, cert: strangerCa.cert, key: strangerCa.key } }, 'tls');
    const manager = rig.manager({ url: server.url, tls: { ca: ca.cert, cert: client.cert, key: client.key } });
    expect(await manager.command('PING')).toBe('PONG');
  });

  it('to a port that speaks none rejects with kind tls at once', async () => {
    const server = await rig.server();
    const { ca } = await certificates();
    for (let i = 0; i < 10; i += 1) {
      const error = await expectRefused({ host: server.host, port: server.port, tls: { ca: ca.cert } }, 'tls');
      expect(error.message).toContain('TLS');
    }
  });

  it('expected by a server that is spoken to without rejects with kind tls at once', async () => {
    const server = await rig.server({ tls: true });
    const error = await expectRefused({ host: server.host, port: server.port, password: SECRET }, 'tls');
    expect(error.message).toContain('TLS');
  });

  it('is restored after a loss, and carries large values', async () => {
    const server = await rig.server({ tls: true });
    const { ca } = await certificates();
    const manager = rig.manager({
      url: server.url,
      tls: { ca: ca.cert },
      reconnect: { minDelayMs: 1, maxDelayMs: 20 },
    });
    const events = recordEvents(manager);
    const value = 'x'.repeat(8 * 1024 * 1024);
    await manager.command('SET', 'k', value);
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await until(() => events.counts.ready === 2, { what: 'the connection to be back' });
    expect((await manager.command<string>('GET', 'k')) === value).toBe(true);
  });

  it('cut after every few bytes of its handshake rejects with kind tls or connection, and leaves nothing open', async () => {
    const server = await rig.server({ tls: true });
    const { ca } = await certificates();
    const proxy = await rig.proxy(server);
    const config = { host: proxy.host, port: proxy.port, tls: { ca: ca.cert } };
    await rig.manager(config).connect();
    const total = proxy.counters.down;
    for (let at = 0; at < total; at += 17) {
      proxy.set({ down: { cutAfterBytes: at } });
      const error = await failureOf(rig.manager(config).connect());
      expect(['tls', 'connection']).toContain(error.redisErrorKind);
    }
  });

  it('cut in its handshake while reconnecting is no reason to give up', async () => {
    const server = await rig.server({ tls: true });
    const { ca } = await certificates();
    const proxy = await rig.proxy(server);
    const manager = rig.manager({
      host: proxy.host,
      port: proxy.port,
      tls: { ca: ca.cert },
      reconnect: { minDelayMs: 1, maxDelayMs: 20 },
    });
    const events = recordEvents(manager);
    await manager.connect();
    proxy.set({ down: { cutAfterBytes: 100 } });
    proxy.reset();
    await until(() => events.errors.length >= 6, { what: 'some attempts to fail' });
    expect(manager.state).toBe('reconnecting');
    proxy.heal();
    await reaches(manager, 'ready');
  });
});

describe('a Unix socket', () => {
  it('works by path and by URL, and is restored after a loss', async () => {
    const server = await rig.server({ unixSocket: true });
    const byPath = rig.manager({ path: server.socketPath, reconnect: { minDelayMs: 1, maxDelayMs: 20 } });
    const byUrl = rig.manager(`redis+unix://${server.socketPath}?db=2`);
    const events = recordEvents(byPath);
    expect(await byPath.command('SET', 'k', 'v')).toBe('OK');
    expect(await byUrl.command('GET', 'k')).toBeNull();
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await until(() => events.counts.ready === 2, { what: 'the connection to be back' });
    expect(await byPath.command('GET', 'k')).toBe('v');
  });
});
