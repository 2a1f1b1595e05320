/** Commands that block: each on a connection of its own, bounded, and without losing what was popped. */
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { durationOf, reaches, settledAll, useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until, within } from '../support/until.ts';

const rig = useRig();

/** Resolves when so many clients of the server are blocked. */
function blocked(server: RedisServer, count: number) {
  return until(async () => Number(await server.info('blocked_clients')) === count, {
    what: `${count} blocked clients`,
  });
}

describe('a blocking command', () => {
  it('does not hold up others, and its connection is closed afterwards', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const popped = manager.command('BLPOP', 'queue', 0);
    await blocked(server, 1);
    expect(await manager.command('ECHO', 'meanwhile')).toBe('meanwhile');
    expect(manager.metrics().redis_connection_pool_size).toBe(2);
    await manager.command('RPUSH', 'queue', 'element');
    expect(await popped).toEqual(['queue', 'element']);
    await until(async () => (await server.clients()).length === 1, { what: 'its connection to be closed' });
    expect(manager.metrics().redis_connection_pool_size).toBe(1);
  });

  it('resolves with null when its own timeout passes, however short commandTimeoutMs is', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 100 });
    const begin = performance.now();
    expect(await manager.command('BLPOP', 'queue', 0.5)).toBeNull();
    expect(performance.now() - begin).toBeGreaterThanOrEqual(490);
  });

  it('of which fifty run at once each get their own element, and leave no connection', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const popped = Array.from({ length: 50 }, (_, i) => manager.command<string[]>(i % 2 ? 'BLPOP' : 'BRPOP', `queue${i % 5}`, 10));
    await blocked(server, 50);
    await Promise.all(Array.from({ length: 50 }, (_, i) => manager.command('RPUSH', `queue${i % 5}`, `element${i}`)));
    const elements = (await settledAll(popped)).map(({ value, error }) => {
      expect(error).toBeUndefined();
      return value?.[1];
    });
    expect(new Set(elements).size).toBe(50);
    await until(async () => (await server.clients()).length === 1, { what: 'their connections to be closed' });
  });

  it('XREAD BLOCK gets what is added while it waits', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const read = manager.command<Record<string, [string, string[]][]>>('XREAD', 'BLOCK', 0, 'STREAMS', 'stream', '$');
    await blocked(server, 1);
    const id = await manager.command<string>('XADD', 'stream', '*', 'field', 'value');
    expect(await read).toEqual({ stream: [[id, ['field', 'value']]] });
    expect(await manager.command('XREAD', 'BLOCK', 20, 'STREAMS', 'stream', '$')).toBeNull();
  });

  it('on a frozen server rejects at its own timeout and a grace', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 300 });
    const popped = failureOf(manager.command('BLPOP', 'queue', 0.2));
    await blocked(server, 1);
    await server.freeze();
    const error = await popped;
    expect([error.redisErrorKind, error.delivery]).toEqual(['timeout', 'maybe-executed']);
  });

  it('whose connection is killed rejects with kind connection as maybe executed, and the next one works', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const popped = failureOf(manager.command('BLPOP', 'queue', 0));
    await blocked(server, 1);
    const clients = await server.clients();
    await server.cli('CLIENT', 'KILL', 'ID', clients.find((client) => client.cmd === 'blpop')?.id ?? '');
    const error = await popped;
    expect([error.redisErrorKind, error.delivery]).toEqual(['connection', 'maybe-executed']);
    await server.cli('RPUSH', 'queue', 'element');
    expect(await manager.command('BLPOP', 'queue', 1)).toEqual(['queue', 'element']);
  });

  it('to a server that is killed rejects, and to one that is not there rejects as not sent', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const popped = failureOf(manager.command('BLPOP', 'queue', 0));
    await blocked(server, 1);
    await server.kill9();
    expect((await popped).redisErrorKind).toBe('connection');
    const error = await failureOf(manager.command('BLPOP', 'queue', 0));
    expect([error.redisErrorKind, error.delivery]).toEqual(['connection', 'not-sent']);
  });

  it('that is called while the connection is being restored waits for it, as any command does', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: { minDelayMs: 10, maxDelayMs: 50 } });
    await manager.connect();
    await server.kill9();
    await reaches(manager, 'reconnecting');
    const popped = manager.command('BLPOP', 'queue', 10);
    await until(() => manager.metrics().redis_reconnection_attempts_total > 5, { what: 'attempts to fail' });
    await server.restart();
    await manager.command('RPUSH', 'queue', 'element');
    expect(await popped).toEqual(['queue', 'element']);
  });

  it('whose connection falls silent before the command was sent rejects as not sent', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    await rig.manager(proxy.url).connect();
    const greeting = proxy.counters.down;
    for (const more of [-5, 0, 5]) {
      const manager = rig.manager({ url: proxy.url, connectTimeoutMs: 1_500, keepAliveMs: 60_000 });
      const before = proxy.counters.down;
      proxy.set({ down: { pieceBytes: 4, delayMs: 3 } });
      const popped = failureOf(manager.command('BLPOP', 'queue', 0));
      await until(() => proxy.counters.down - before >= greeting + more, { what: 'the greeting' });
      proxy.set({ down: { blackHole: true } });
      const error = await popped;
      expect([error.redisErrorKind, error.delivery]).toEqual(['timeout', 'not-sent']);
      proxy.reset();
      proxy.heal();
    }
  });

  it('with an error reply rejects with kind server', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    await manager.command('SET', 'text', 'v');
    expect((await failureOf(manager.command('BLPOP', 'text', 1))).serverCode).toBe('WRONGTYPE');
  });

  for (const way of ['up', 'down'] as const) {
    it(`without a timeout, in a black hole ${way === 'up' ? 'towards' : 'from'} the server, is noticed within 2 × keepAliveMs`, async () => {
      const server = await rig.server();
      const proxy = await rig.proxy(server);
      const manager = rig.manager({
        url: proxy.url,
        keepAliveMs: 500,
        commandTimeoutMs: 60_000,
        reconnect: { minDelayMs: 1, maxDelayMs: 20 },
      });
      await manager.connect();
      const popped = failureOf(manager.command('BLPOP', 'queue', 0));
      await blocked(server, 1);
      proxy.set({ [way]: { blackHole: true } });
      const took = await durationOf(popped);
      const error = await popped;
      expect([error.redisErrorKind, error.delivery]).toEqual(['connection', 'maybe-executed']);
      expect(took).toBeLessThan(stretched(2 * 500 + 700));
      proxy.reset();
      proxy.heal();
      await reaches(manager, 'ready');
    });
  }

  it('of a user that may use no channel works, though nothing watches it', async () => {
    const server = await rig.server({ acl: ['poor on >wonder ~* resetchannels +@all -client -publish -subscribe'] });
    const manager = rig.manager({ url: server.url, username: 'poor', password: 'wonder', keepAliveMs: 50 });
    const popped = manager.command('BLPOP', 'queue', 1);
    await blocked(server, 1);
    expect(await popped).toBeNull();
    const element = manager.command('BLPOP', 'queue', 0);
    await blocked(server, 1);
    await server.cli('RPUSH', 'queue', 'element');
    expect(await element).toEqual(['queue', 'element']);
  });

  it('of a user that may subscribe but not publish is not given up either', async () => {
    const server = await rig.server({ acl: ['poor on >wonder ~* &* +@all -publish'] });
    const manager = rig.manager({ url: server.url, username: 'poor', password: 'wonder', keepAliveMs: 400 });
    await manager.connect();
    expect(await manager.command('BLPOP', 'queue', 1)).toBeNull();
  });

  it('that lives long is not given up while its connection lives', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, keepAliveMs: 400 });
    await manager.connect();
    const popped = manager.command('BLPOP', 'queue', 0);
    await blocked(server, 1);
    await until(async () => (await server.calls('publish')) > 4, { timeoutMs: 10_000, what: 'many signs of life' });
    await manager.command('RPUSH', 'queue', 'element');
    expect(await popped).toEqual(['queue', 'element']);
  });
});

describe('disconnect() during a blocking command', () => {
  for (const connected of [true, false]) {
    it(`settles it promptly, ${connected ? 'beside a connection for commands' : 'as the only connection'}`, async () => {
      const server = await rig.server();
      const manager = rig.manager({ url: server.url, closeTimeoutMs: 30_000 });
      if (connected) await manager.connect();
      const popped = failureOf(manager.command('BLPOP', 'queue', 0));
      await blocked(server, 1);
      const begin = performance.now();
      await within(10_000, manager.disconnect(), 'disconnect()');
      expect(performance.now() - begin).toBeLessThan(stretched(1_500));
      expect((await popped).redisErrorKind).toBe('closed');
      await blocked(server, 0);
    });
  }

  it('while it still connects settles it as not sent', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { silent: true });
    const manager = rig.manager(proxy.url);
    const popped = failureOf(manager.command('BLPOP', 'queue', 0));
    await until(() => proxy.counters.accepted === 1, { what: 'the attempt' });
    await within(10_000, manager.disconnect(), 'disconnect()');
    const error = await popped;
    expect([error.redisErrorKind, error.delivery]).toEqual(['closed', 'not-sent']);
  });

  it('never loses an element that is pushed at the same time', async () => {
    const server = await rig.server();
    let popped = 0;
    const rounds = 60;
    for (let round = 0; round < rounds; round += 1) {
      const manager = rig.manager({ url: server.url, closeTimeoutMs: 10_000 });
      if (round % 3) await manager.connect();
      const popping = settledAll([manager.command<string[]>('BLPOP', 'queue', 0)]);
      await blocked(server, 1);
      const pushed = server.cli('RPUSH', 'queue', `element${round}`);
      if (round % 2) await Promise.race([pushed, new Promise((resolve) => setImmediate(resolve))]);
      await within(15_000, manager.disconnect(), 'disconnect()');
      await pushed;
      const [outcome] = await popping;
      const left = Number(await server.cli('LLEN', 'queue'));
      if (outcome?.value) {
        popped += 1;
        expect([outcome.value, left]).toEqual([['queue', `element${round}`], 0]);
      } else {
        expect([outcome?.error?.redisErrorKind, left], `round ${round}`).toEqual(['closed', 1]);
      }
      await server.cli('DEL', 'queue');
    }
    expect(popped).toBeGreaterThan(0);
  });
});
