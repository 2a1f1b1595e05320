/** Replies that are too much: too long, too deep, without an end, or not asked for. */
import { type BusEvents, MessageBus, type RedisError } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { FakeServer } from '../support/fake-server.ts';
import { PATIENCE_MS, useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const LIMIT = 65_536;
const LONG = 'x'.repeat(LIMIT + 1);
const TOO_LONG = {
  redisErrorKind: 'serialization',
  delivery: 'maybe-executed',
  message: expect.stringMatching(/maxReplyBytes, 65536 bytes/),
};
const NEST = 'local t = {} local r = t for i = 2, tonumber(ARGV[1]) do t[1] = {} t = t[1] end return r';

describeBackends('a reply that is too much', (backend) => {
  it('for maxReplyBytes costs its own caller only: a string, many elements, one of a transaction, of a script, of a blocking command', async () => {
    const manager = backend.manager({ maxReplyBytes: LIMIT });
    let lost = 0;
    manager.on('error', () => lost++);
    const key = (name: string): string => `${backend.namespace}:${name}`;
    await manager.command('SET', key('long'), LONG);
    await manager.command('RPUSH', key('popped'), LONG);
    await manager.command('RPUSH', key('many'), ...Array.from({ length: 2_000 }, () => '1'));
    const neighbours: Promise<unknown>[] = [];
    const neighbour = (): void => void neighbours.push(manager.command('INCR', key('n')));
    neighbour();
    const failing: Promise<RedisError>[] = [];
    const fails = (call: Promise<unknown>): void => void failing.push(failureOf(call));
    fails(manager.command('GET', key('long')));
    neighbour();
    // Small on the wire, large in memory.
    fails(manager.command('LRANGE', key('many'), 0, -1));
    neighbour();
    fails(
      manager.transaction([
        ['INCR', key('t')],
        ['GET', key('long')],
        ['INCR', key('t')],
      ]),
    );
    neighbour();
    fails(manager.script('return redis.call("GET", KEYS[1])', [key('long')]));
    fails(manager.command('BLPOP', key('popped'), 1));
    neighbour();
    for (const error of failing) expect(await error).toMatchObject(TOO_LONG);
    expect(await Promise.all(neighbours)).toEqual([1, 2, 3, 4, 5]);
    expect(await manager.command('GET', key('t'))).toBe('2');
    expect(lost).toBe(0);
  });

  it('by its depth costs its own caller only', async () => {
    const manager = backend.manager();
    let lost = 0;
    manager.on('error', () => lost++);
    const nested = (depth: number): Promise<unknown> => manager.script(NEST, [], [depth]);
    const errors = [257, 300].map((depth) => failureOf(nested(depth)));
    const neighbours = [nested(256), nested(2)];
    for (const error of errors) {
      expect(await error).toMatchObject({ redisErrorKind: 'serialization', message: expect.stringMatching(/at most 256 levels/) });
    }
    await neighbours[0];
    expect(await neighbours[1]).toEqual([[]]);
    expect(lost).toBe(0);
  });

  it('as a message is dropped, counted and told, and the next one arrives', async () => {
    const publisher = new MessageBus(backend.manager());
    const manager = backend.manager({ maxReplyBytes: LIMIT });
    const bus = new MessageBus(manager);
    const slow: BusEvents['slow'][] = [];
    const got: unknown[] = [];
    bus.on('slow', (event) => slow.push(event));
    await bus.subscribe('t', ({ payload }) => void got.push(payload));
    await bus.psubscribe('t*', ({ payload }) => void got.push(payload));
    for (const payload of ['before', LONG, 'after']) await publisher.publish('t', payload);
    await until(() => got.length === 4, { what: () => `4 messages, got ${got.length}`, timeoutMs: PATIENCE_MS });
    expect(got.map(String).toSorted()).toEqual(['after', 'after', 'before', 'before']);
    await until(() => slow.length === 2, { what: 'both subscriptions to be told', timeoutMs: PATIENCE_MS });
    expect(slow).toEqual(expect.arrayContaining([{ topic: 't', dropped: 1 }, expect.objectContaining({ pattern: 't*', dropped: 1 })]));
    expect(manager.metrics().redis_bus_dropped_total).toBe(2);
    await bus.close();
    await publisher.close();
  });
});

const rig = useRig();

describe('a server that sends without end', () => {
  const some = Buffer.from(':1\r\n'.repeat(16_384));

  it.each([
    ['an attribute', '|1000000000\r\n'],
    ['a push', '>1000000000\r\n'],
    ['an array', '*1000000000\r\n'],
    ['a string', '$1000000000000\r\n'],
    ['an error', '-ERR '],
  ])('%s costs its own call and, in time, the connection; who calls then is served', async (_, head) => {
    const line = Buffer.from('x'.repeat(65_536));
    await using server = await FakeServer.start(([name], socket) => {
      if (name === 'ECHO') return '+echo\r\n';
      if (name !== 'GET') return undefined;
      const piece = head.startsWith('-') ? line : some;
      const pour = (): void => {
        while (!socket.destroyed && socket.write(piece));
        if (!socket.destroyed) socket.once('drain', pour);
      };
      socket.write(head);
      pour();
      return Buffer.alloc(0);
    });
    const manager = rig.manager({
      url: server.url,
      commandTimeoutMs: 300,
      maxReplyBytes: LIMIT,
      reconnect: { minDelayMs: 1, maxDelayMs: 10 },
    });
    const lost: string[] = [];
    manager.on('error', (error) => lost.push(error.message));
    expect((await failureOf(manager.command('GET', 'k'))).redisErrorKind).toMatch(/timeout|connection/);
    await until(() => lost.length > 0, { what: 'the connection to be given up', timeoutMs: PATIENCE_MS });
    expect(lost[0]).toMatch(/had no end within 300 ms/);
    await until(() => manager.command('ECHO', 'x').then((reply) => reply === 'echo'), {
      what: 'the next call to be served',
      timeoutMs: PATIENCE_MS,
    });
  });

  it('pushes that nobody asked for keeps no deadline and no other manager waiting', async () => {
    const pushes = Buffer.from('>2\r\n+invalidate\r\n*1\r\n+k\r\n'.repeat(4_096));
    await using server = await FakeServer.start(([name], socket) => {
      if (name !== 'GET') return undefined;
      const pour = (): void => {
        if (!socket.destroyed && socket.write(pushes)) setImmediate(pour);
        else if (!socket.destroyed) socket.once('drain', pour);
      };
      pour();
      return Buffer.alloc(0);
    });
    const flooded = rig.manager({ url: server.url, commandTimeoutMs: 500 });
    const calls = [flooded.command('GET', 'a'), flooded.command('GET', 'b')].map((call) => failureOf(call, 20_000));
    const other = rig.manager((await rig.server()).url);
    for (let n = 1; n <= 10; n++) expect(await other.command('INCR', 'n')).toBe(n);
    for (const call of calls) expect((await call).redisErrorKind).toBe('timeout');
  });
});

describe('an error reply of any length', () => {
  it('makes a short message, and its neighbours get their answers', async () => {
    const text = 'x'.repeat(1_000_000);
    await using server = await FakeServer.start(([name, key]) => {
      if (name === 'ECHO') return '$4\r\necho\r\n';
      if (name !== 'GET') return undefined;
      if (key === 'line') return `-OOM ${text}\r\n`;
      if (key === 'bulk') return `!${text.length + 4}\r\nOOM ${text}\r\n`;
      return `*1\r\n-OOM ${text}\r\n`;
    });
    const manager = rig.manager({ url: server.url });
    const neighbours = [];
    for (const key of ['line', 'bulk']) {
      const failing = failureOf(manager.command('GET', key));
      neighbours.push(manager.command('ECHO', 'x'));
      const error = await failing;
      expect([error.redisErrorKind, error.serverCode, error.delivery]).toEqual(['server', 'OOM', 'rejected']);
      expect(error.message.length).toBeLessThan(5_000);
    }
    const inside = await manager.command<unknown[]>('GET', 'inside');
    expect(inside).toHaveLength(1);
    expect(String(inside[0]).length).toBeLessThan(100_000);
    expect(await Promise.all(neighbours)).toEqual(['echo', 'echo']);
  });
});
