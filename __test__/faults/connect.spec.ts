/** A server that is not there, or not quite, when a manager connects. */
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { freePort } from '../support/port.ts';
import { durationOf, recordEvents, settledAll, useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until, within } from '../support/until.ts';

const rig = useRig();

describe('a server that is not there at the start', () => {
  it('makes connect() reject with kind connection and the system error as its cause, and a later connect() works', async () => {
    const server = await rig.server();
    await server.stop();
    const manager = rig.manager(server.url);
    const events = recordEvents(manager);
    const error = await failureOf(manager.connect());
    expect([error.redisErrorKind, error.code, error.delivery, error.retryable]).toEqual([
      'connection',
      'ERR_REDIS_CONNECTION',
      'not-sent',
      true,
    ]);
    expect((error.cause as NodeJS.ErrnoException).code).toBe('ECONNREFUSED');
    expect(manager.state).toBe('failed');
    await until(() => events.counts.end === 1, { what: "the event 'end'" });
    expect(events.reconnecting).toEqual([]);
    expect(events.errors).toHaveLength(1);
    await server.restart();
    await manager.connect();
    expect(manager.state).toBe('ready');
  });

  it('makes the first command reject as not sent, and the next use begins anew', async () => {
    const server = await rig.server();
    await server.stop();
    const manager = rig.manager(server.url);
    const outcomes = await settledAll(Array.from({ length: 20 }, () => manager.command('INCR', 'n')));
    for (const { error } of outcomes) expect([error?.redisErrorKind, error?.delivery]).toEqual(['connection', 'not-sent']);
    expect(manager.state).toBe('failed');
    await server.restart();
    expect(await manager.command('INCR', 'n')).toBe(1);
  });

  it('is tried connectRetries times more', async () => {
    const server = await rig.server();
    await server.stop();
    const manager = rig.manager({ url: server.url, connectRetries: 3, reconnect: { minDelayMs: 1, maxDelayMs: 5 } });
    const events = recordEvents(manager);
    expect((await failureOf(manager.connect())).redisErrorKind).toBe('connection');
    await until(() => events.counts.end === 1, { what: "the event 'end'" });
    expect(events.errors).toHaveLength(4);
    expect(events.reconnecting.map((info) => info.attempt)).toEqual([1, 2, 3]);
  });

  it('is found by a retry of the first connect when it comes up meanwhile', async () => {
    const server = await rig.server();
    await server.stop();
    const manager = rig.manager({
      url: server.url,
      connectRetries: 1_000,
      reconnect: { minDelayMs: 5, maxDelayMs: 20 },
    });
    const events = recordEvents(manager);
    const connected = manager.connect();
    await until(() => events.errors.length >= 3, { what: 'some attempts to fail' });
    expect(manager.state).toBe('connecting');
    await server.restart();
    await within(10_000, connected, 'connect()');
    expect(manager.state).toBe('ready');
  });

  it('is a name that does not resolve: kind connection', async () => {
    const manager = rig.manager({ host: 'no-such-host.invalid', connectTimeoutMs: 10_000 });
    const error = await failureOf(manager.connect());
    expect(error.redisErrorKind).toBe('connection');
    expect(error.message).toContain('no-such-host.invalid');
    expect(manager.state).toBe('failed');
  });

  it('is a Unix socket that does not exist: kind connection', async () => {
    const manager = rig.manager({ path: '/tmp/no-such-folder/redis.sock' });
    const error = await failureOf(manager.connect());
    expect(error.redisErrorKind).toBe('connection');
    expect((error.cause as NodeJS.ErrnoException).code).toBe('ENOENT');
  });

  it('reports its health without rejecting', async () => {
    const manager = rig.manager({ port: await freePort() });
    const health = await manager.health();
    expect(health).toMatchObject({ ok: false, latencyMs: null });
    expect(health.error).toContain('refused');
  });
});

describe('a server that accepts and then says nothing', () => {
  it('makes connect() reject with kind timeout at connectTimeoutMs, and a later connect() works', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { silent: true });
    const manager = rig.manager({ url: proxy.url, connectTimeoutMs: 300 });
    const took = durationOf(manager.connect());
    expect((await failureOf(manager.connect())).redisErrorKind).toBe('timeout');
    expect(await took).toBeGreaterThanOrEqual(295);
    expect(await took).toBeLessThan(stretched(5_000));
    expect(manager.state).toBe('failed');
    await until(() => proxy.counters.open === 0, { what: 'the attempt to be given up' });
    proxy.heal();
    await manager.connect();
    expect(manager.state).toBe('ready');
  });

  it('makes a command reject at commandTimeoutMs, as not sent, however long connecting takes', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { silent: true });
    const manager = rig.manager({ url: proxy.url, connectTimeoutMs: 60_000, commandTimeoutMs: 200 });
    const error = await failureOf(manager.command('INCR', 'n'));
    expect([error.redisErrorKind, error.delivery]).toEqual(['timeout', 'not-sent']);
    proxy.reset();
  });

  it('in the middle of the handshake makes connect() reject with kind timeout', async () => {
    const server = await rig.server();
    for (const bytes of [1, 30, 200]) {
      const proxy = await rig.proxy(server, { down: { pieceBytes: 1, delayMs: bytes === 1 ? 100 : 20 } });
      const manager = rig.manager({ url: proxy.url, connectTimeoutMs: 150 });
      expect((await failureOf(manager.connect())).redisErrorKind).toBe('timeout');
    }
  });
});

describe('a handshake that is cut', () => {
  it('after any number of bytes rejects with kind connection, and leaves nothing open', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    await rig.manager(proxy.url).connect();
    const total = proxy.counters.down;
    expect(total).toBeGreaterThan(50);
    for (let at = 0; at < total; at += 1) {
      proxy.set({ down: { cutAfterBytes: at } });
      const error = await failureOf(rig.manager(proxy.url).connect());
      expect([error.redisErrorKind, error.delivery], `cut after ${at} bytes`).toEqual(['connection', 'not-sent']);
    }
    proxy.heal();
    await rig.manager(proxy.url).connect();
  });

  it('by garbage instead of replies rejects with kind connection', async () => {
    const { createServer } = await import('node:net');
    const port = await freePort();
    const garbage = createServer((socket) =>
      socket.on('error', () => {}).on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')),
    );
    await new Promise<void>((resolve) => garbage.listen(port, '127.0.0.1', resolve));
    try {
      const manager = rig.manager({ port, connectTimeoutMs: 5_000 });
      expect((await failureOf(manager.connect())).redisErrorKind).toBe('connection');
      await manager.disconnect();
    } finally {
      await new Promise((resolve) => garbage.close(resolve));
    }
  });
});
