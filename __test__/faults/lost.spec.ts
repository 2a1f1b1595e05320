/** Connections that end, break or fall silent while they are used. */
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { Random } from '../support/random.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { reaches, recordEvents, type Settled, settledAll, useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until, within } from '../support/until.ts';

const rig = useRig();
const FAST = { minDelayMs: 1, maxDelayMs: 20 };

/** Compares what INCRs on the keys `prefix0`, `prefix1`, … settled as with what the server has. */
async function expectExactly(server: RedisServer, prefix: string, outcomes: Settled<number>[]) {
  const keys = outcomes.map((_, i) => `${prefix}${i}`);
  const counts = (await server.cli('MGET', ...keys)) as (string | null)[];
  const seen = { resolved: 0, 'maybe-executed': 0, 'not-sent': 0 };
  outcomes.forEach(({ value, error }, i) => {
    const count = counts[i];
    if (!error) {
      seen.resolved += 1;
      expect([value, count], keys[i]).toEqual([1, '1']);
      return;
    }
    expect(['connection', 'timeout', 'closed'], error.message).toContain(error.redisErrorKind);
    expect(['maybe-executed', 'not-sent'], error.message).toContain(error.delivery);
    seen[error.delivery as 'not-sent'] += 1;
    if (error.delivery === 'not-sent') expect(count, keys[i]).toBeNull();
    else expect([null, '1'], keys[i]).toContain(count);
  });
  return seen;
}

describe('a server killed with -9 while commands are in flight', () => {
  it('and back on the same port: every promise settles, nothing answered is lost, nothing runs twice', async () => {
    const server = await rig.server({ durable: true });
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 10_000, reconnect: FAST });
    const random = new Random(7);
    await manager.connect();
    for (let round = 0; round < 5; round += 1) {
      const prefix = `round${round}:`;
      let answered = 0;
      const wanted = random.between(1, 300);
      const calls = Array.from({ length: 3_000 }, (_, i) =>
        manager.command<number>('INCR', `${prefix}${i}`).finally(() => {
          answered += 1;
        }),
      );
      const outcomes = settledAll(calls, 30_000);
      await until(() => answered >= wanted, { what: `${wanted} answers` });
      await server.kill9();
      const reads = settledAll(
        Array.from({ length: 50 }, () => manager.command('GET', `${prefix}0`)),
        30_000,
      );
      await server.restart();
      const seen = await expectExactly(server, prefix, await outcomes);
      expect(seen.resolved, JSON.stringify(seen)).toBeGreaterThan(0);
      for (const { value, error } of await reads) expect(error ?? value).toBe('1');
    }
  });

  it('and not back: everything settles at its deadline, and the state stays reconnecting', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 400, reconnect: FAST });
    await manager.connect();
    await server.kill9();
    const outcomes = await settledAll(Array.from({ length: 100 }, (_, i) => manager.command(i % 2 ? 'INCR' : 'GET', 'n')));
    for (const [i, { error }] of outcomes.entries()) {
      if (error?.redisErrorKind === 'connection') expect(error.delivery).toBe('maybe-executed');
      // A GET that was sent is sent again, so it may have been executed.
      else expect(['not-sent', i % 2 ? 'not-sent' : 'maybe-executed']).toContain(error?.redisErrorKind === 'timeout' && error.delivery);
    }
    expect(manager.state).toBe('reconnecting');
    await server.restart();
    await reaches(manager, 'ready');
    expect(await manager.command('INCR', 'n')).toBe(1);
  });

  it('before a read was answered, and not back: the read may have been executed, though it was to be sent again', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager({ url: proxy.url, commandTimeoutMs: 400, reconnect: FAST });
    await manager.connect();
    proxy.set({ down: { blackHole: true } });
    const sent = proxy.counters.up;
    const read = failureOf(manager.command('GET', 'n'));
    await until(() => proxy.counters.up > sent, { what: 'the command to be sent' });
    await proxy.refuse();
    proxy.reset();
    await reaches(manager, 'reconnecting');
    const never = failureOf(manager.command('GET', 'n'));
    expect(await read).toMatchObject({ redisErrorKind: 'timeout', delivery: 'maybe-executed' });
    expect(await never).toMatchObject({ redisErrorKind: 'timeout', delivery: 'not-sent' });
  });
});

describe('a connection cut by the network', () => {
  it('on either side, anywhere, with INCRs in flight: resolved ran once, maybe-executed at most once, not-sent never', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { seed: 11 });
    const manager = rig.manager({ url: proxy.url, commandTimeoutMs: 10_000, reconnect: FAST });
    const random = new Random(11);
    await manager.connect();
    const total = { resolved: 0, 'maybe-executed': 0, 'not-sent': 0 };
    let lost = 0;
    manager.on('state', (to) => {
      if (to !== 'reconnecting') return;
      lost += 1;
      proxy.heal();
    });
    for (let round = 0; round < 40; round += 1) {
      await reaches(manager, 'ready');
      const limit = random.between(0, 4_000);
      proxy.set(
        random.pick([
          { up: { cutAfterBytes: limit } },
          { down: { cutAfterBytes: limit } },
          { up: { dropAfterBytes: limit } },
          { down: { dropAfterBytes: limit } },
        ]),
      );
      const calls = Array.from({ length: 400 }, (_, i) => manager.command<number>('INCR', `${round}:${i}`));
      const seen = await expectExactly(server, `${round}:`, await settledAll(calls));
      for (const how of Object.keys(seen) as (keyof typeof seen)[]) total[how] += seen[how];
    }
    expect(lost).toBeGreaterThan(20);
    expect(total['maybe-executed']).toBeGreaterThan(0);
    expect(total.resolved).toBeGreaterThan(0);
    expect(total.resolved + total['maybe-executed'] + total['not-sent']).toBe(16_000);
  });

  it('after every single byte of the replies to a mixed pipeline: no reply is ever given to the wrong caller', async () => {
    const server = await rig.server();
    await server.cli('SET', 'text', 'text-value');
    await server.cli('RPUSH', 'list', 'a', 'b', 'c');
    await server.cli('HSET', 'hash', 'f1', 'v1', 'f2', 'v2');
    await server.cli('ZADD', 'zset', 1.5, 'm');
    const proxy = await rig.proxy(server);
    const manager = rig.manager({ url: proxy.url, reconnect: { minDelayMs: 1, maxDelayMs: 2 } });
    await manager.connect();
    let executed = 0;
    const pipeline = (tag: string): [Promise<unknown>, (value: unknown) => void][] => [
      [manager.command('GET', 'text'), (value) => expect(value).toBe('text-value')],
      [manager.command('ECHO', `first-${tag}`), (value) => expect(value).toBe(`first-${tag}`)],
      [manager.command('LRANGE', 'list', 0, -1), (value) => expect(value).toEqual(['a', 'b', 'c'])],
      [manager.command('GET', 'nothing'), (value) => expect(value).toBeNull()],
      [manager.command('INCRBY', 'count', 1), (value) => expect(value).toBeTypeOf('number')],
      [manager.command('HGETALL', 'hash'), (value) => expect(value).toEqual({ f1: 'v1', f2: 'v2' })],
      [manager.command('LPOS', 'text', 'x'), () => expect.unreachable('a WRONGTYPE is no value')],
      [manager.command('ZSCORE', 'zset', 'm'), (value) => expect(Number(value)).toBe(1.5)],
      [
        manager.transaction([
          ['INCRBY', 'count', 1],
          ['ECHO', `inside-${tag}`],
        ]),
        (value) => expect((value as unknown[])[1]).toBe(`inside-${tag}`),
      ],
      [manager.command('ECHO', `last-${tag}`), (value) => expect(value).toBe(`last-${tag}`)],
    ];
    const run = async (tag: string): Promise<number> => {
      const calls = pipeline(tag);
      const outcomes = await settledAll(calls.map(([promise]) => promise));
      let unknown = 0;
      outcomes.forEach(({ value, error }, i) => {
        if (i === 6) {
          expect(error?.serverCode, tag).toBe('WRONGTYPE');
        } else if (error) {
          // Only what writes may be left unanswered; what reads is asked again.
          expect([4, 8], `${tag}: ${error.message}`).toContain(i);
          expect(error.delivery).toBe('maybe-executed');
          unknown += 1;
        } else {
          calls[i]?.[1](value);
          if (i === 4 || i === 8) executed += 1;
        }
      });
      return unknown;
    };
    const before = proxy.counters.down;
    expect(await run('whole')).toBe(0);
    const length = proxy.counters.down - before;
    expect(length).toBeGreaterThan(150);
    manager.on('reconnecting', () => proxy.heal());
    let unknown = 0;
    for (let at = 0; at < length; at += 1) {
      await reaches(manager, 'ready');
      proxy.set({ down: { cutAfterBytes: at } });
      unknown += await run(`cut-${at}`);
    }
    proxy.heal();
    expect(unknown).toBeGreaterThan(0);
    const count = Number(await server.cli('GET', 'count'));
    expect(count).toBeGreaterThanOrEqual(executed);
    expect(count).toBeLessThanOrEqual(executed + unknown);
    expect(manager.metrics().redis_commands_resent_total).toBeGreaterThan(0);
  });

  it('whose reply was dropped and which was then reset: one INCR ran once, and its error says maybe-executed', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager({ url: proxy.url, reconnect: FAST });
    await manager.connect();
    proxy.set({ down: { dropAfterBytes: 0 } });
    manager.on('reconnecting', () => proxy.heal());
    const error = await failureOf(manager.command('INCR', 'n'));
    expect([error.redisErrorKind, error.delivery, error.retryable]).toEqual(['connection', 'maybe-executed', true]);
    expect(error.cause).toBeDefined();
    await reaches(manager, 'ready');
    expect(await manager.command('GET', 'n')).toBe('1');
    expect(await server.calls('incr')).toBe(1);
  });

  it('half-closed by the server is restored', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager({ url: proxy.url, reconnect: FAST });
    const events = recordEvents(manager);
    await manager.connect();
    proxy.set({ down: { halfCloseAfterBytes: 0 } });
    await until(() => events.reconnecting.length > 0, { what: 'the loss to be noticed' });
    proxy.heal();
    await reaches(manager, 'ready');
    expect(await manager.command('PING')).toBe('PONG');
  });

  it('and then refused for a while is restored without help', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager({ url: proxy.url, reconnect: FAST, commandTimeoutMs: 10_000 });
    const events = recordEvents(manager);
    await manager.connect();
    await proxy.refuse();
    proxy.reset();
    const waiting = manager.command('INCR', 'n');
    await until(() => events.reconnecting.length >= 5, { what: 'some attempts' });
    await proxy.accept();
    expect(await within(10_000, waiting, 'the command that waited')).toBe(1);
  });
});

describe('a slow network', () => {
  it('that delays everything changes no answer', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { up: { delayMs: [0, 20] }, down: { delayMs: [0, 20] } });
    const manager = rig.manager(proxy.url);
    const outcomes = await settledAll(Array.from({ length: 300 }, (_, i) => manager.command('ECHO', `e${i}`)));
    expect(outcomes.map((outcome) => outcome.value)).toEqual(Array.from({ length: 300 }, (_, i) => `e${i}`));
  });

  it('that carries one byte at a time changes no answer', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { up: { pieceBytes: 1 }, down: { pieceBytes: 1 } });
    const manager = rig.manager({ url: proxy.url, commandTimeoutMs: 15_000 });
    await manager.connect();
    await manager.command('HSET', 'h', 'a', 'ä', 'b', '€');
    const outcomes = await settledAll([
      ...Array.from({ length: 50 }, (_, i) => manager.command('ECHO', `é${i}`)),
      manager.command('HGETALL', 'h'),
      manager.transaction([
        ['SET', 'k', 'v'],
        ['GET', 'k'],
      ]),
    ]);
    expect(outcomes.map((outcome) => outcome.value)).toEqual([
      ...Array.from({ length: 50 }, (_, i) => `é${i}`),
      { a: 'ä', b: '€' },
      ['OK', 'v'],
    ]);
  });
});

describe('a black hole', () => {
  const KEEP_ALIVE_MS = 500;
  /** What a loaded machine may add to a moment. */
  const SLACK_MS = 700;

  for (const way of ['up', 'down'] as const) {
    for (const busy of [false, true]) {
      it(`${way === 'up' ? 'towards' : 'from'} the server is noticed within 2 × keepAliveMs by ${busy ? 'a busy' : 'an idle'} connection`, async () => {
        const server = await rig.server();
        const proxy = await rig.proxy(server);
        const manager = rig.manager({
          url: proxy.url,
          keepAliveMs: KEEP_ALIVE_MS,
          commandTimeoutMs: 60_000,
          reconnect: FAST,
        });
        const events = recordEvents(manager);
        await manager.connect();
        await manager.command('PING');
        const begin = performance.now();
        proxy.set({ [way]: { blackHole: true } });
        const waiting = busy ? settledAll([manager.command<number>('INCR', 'n'), manager.command('GET', 'other')]) : undefined;
        await reaches(manager, 'reconnecting');
        expect(performance.now() - begin).toBeLessThan(stretched(2 * KEEP_ALIVE_MS + SLACK_MS));
        await until(() => events.errors.length > 0, { what: "the event 'error'" });
        expect(events.errors[0]?.message).toContain('silent');
        proxy.reset();
        proxy.heal();
        await reaches(manager, 'ready');
        if (waiting) {
          const [written, read] = await waiting;
          expect([written?.error?.redisErrorKind, written?.error?.delivery]).toEqual(['connection', 'maybe-executed']);
          expect(read).toEqual({ value: null });
        }
        expect(Number((await manager.command('GET', 'n')) ?? 0)).toBeLessThanOrEqual(1);
      });
    }
  }

  it('shorter than keepAliveMs costs nothing but time', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager({ url: proxy.url, keepAliveMs: 60_000 });
    await manager.connect();
    proxy.set({ down: { blackHole: true } });
    const waiting = settledAll(Array.from({ length: 10 }, () => manager.command<number>('INCR', 'n')));
    await until(async () => (await server.calls('incr')) === 10, { what: 'the server to have executed all' });
    proxy.heal();
    expect((await waiting).map((outcome) => outcome.value)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(proxy.counters.accepted).toBe(1);
  });

  it('does not make an idle healthy connection be renewed', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const manager = rig.manager({ url: proxy.url, keepAliveMs: 300 });
    await manager.connect();
    const calls = await server.calls('ping');
    await until(async () => (await server.calls('ping')) >= calls + 5, {
      timeoutMs: 15_000,
      what: 'five signs of life',
    });
    expect(manager.state).toBe('ready');
    expect(proxy.counters.accepted).toBe(1);
  });
});
