/** Loads of `getOrSet`: what ends one, what is not stored then, and for how long anybody waits. */
import { KVStore, once, type RedisConnectionManager, RedisError } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

const HOUR = 3_600;

/** A load that gives `value` when it is let go. */
function gated<T>(value: T) {
  let letGo!: () => void;
  let started!: () => void;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const running = new Promise<void>((resolve) => {
    started = resolve;
  });
  const load = async () => {
    started();
    await gate;
    return value;
  };
  return { load, letGo, running };
}

async function errorOf(promise: Promise<unknown>): Promise<RedisError> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof RedisError)) throw new Error('expected a RedisError', { cause: error });
  return error;
}

describeBackends('loads of the KV store', (backend) => {
  let manager: RedisConnectionManager;
  let kv: KVStore;
  /** Another process, as far as loads go. */
  let elsewhere: KVStore;

  beforeEach(() => {
    manager = backend.manager();
    kv = new KVStore(manager);
    elsewhere = new KVStore(backend.manager());
  });

  const gone = (key: string) => until(async () => !(await kv.has(key)), { what: `${key} to expire` });
  const put = (...args: string[]) => manager.command('SET', `${backend.namespace}:k`, ...args);

  /** Writes, and what `get` gives after each. */
  const writes: [name: string, write: (kv: KVStore) => Promise<unknown>, after: unknown][] = [
    ['set', (kv) => kv.set('k', 'new'), 'new'],
    ['set for long', (kv) => kv.set('k', 'new', HOUR), 'new'],
    ['set for a moment', (kv) => kv.set('k', 'new', 0.02).then(() => gone('k')), null],
    ['setIfAbsent', (kv) => kv.setIfAbsent('k', 'new', HOUR), 'new'],
    ['setIfAbsent for a moment', (kv) => kv.setIfAbsent('k', 'new', 0.02).then(() => gone('k')), null],
    ['setBuffer', (kv) => kv.setBuffer('k', Buffer.from('"new"')), 'new'],
    ['setBuffer for a moment', (kv) => kv.setBuffer('k', Buffer.from('"new"'), 0.02).then(() => gone('k')), null],
    ['cacheSet', (kv) => kv.cacheSet('k', 'new', HOUR), 'new'],
    ['cacheSet for a moment', (kv) => kv.cacheSet('k', 'new', 0.02).then(() => gone('k')), null],
    ['getSet', (kv) => kv.getSet('k', 'new'), 'new'],
    ['getSet for a moment', (kv) => kv.getSet('k', 'new', 0.02).then(() => gone('k')), null],
    ['mset', (kv) => kv.mset({ k: 'new', other: 1 }), 'new'],
    ['mset for long', (kv) => kv.mset({ k: 'new', other: 1 }, HOUR), 'new'],
    ['mset for a moment', (kv) => kv.mset({ other: 1, k: 'new' }, 0.02).then(() => gone('k')), null],
    ['cas', (kv) => kv.cas('k', null, 'new'), 'new'],
    ['cas for a moment', (kv) => kv.cas('k', null, 'new', 0.02).then(() => gone('k')), null],
    ['update', (kv) => kv.update('k', () => 'new'), 'new'],
    ['update there and away', (kv) => kv.update('k', () => 'new').then(() => kv.update('k', () => null)), null],
    ['incr', (kv) => kv.incr('k'), 1],
    ['incr for a moment', (kv) => kv.incr('k', 1, 0.02).then(() => gone('k')), null],
    ['decr', (kv) => kv.decr('k'), -1],
    ['set and expire', (kv) => kv.set('k', 'new').then(() => kv.expire('k', 0.02).then(() => gone('k'))), null],
    ['lpushRecent for a moment', (kv) => kv.lpushRecent('k', 1, 5, 0.02).then(() => gone('k')), null],
    ['del', (kv) => kv.del('k'), null],
    ['del of several', (kv) => kv.del('other', 'k'), null],
    ['getDel', (kv) => kv.getDel('k'), null],
    ['clear', (kv) => kv.clear(), null],
    ['a SET by anyone', () => put('"new"'), 'new'],
  ];

  test.each(writes)('what was loaded before a write is not stored: %s', async (_, write, after) => {
    const { load, letGo, running } = gated('old');
    const first = kv.getOrSet('k', load, { ttlSec: HOUR });
    await running;
    const joined = kv.getOrSet('k', load, { ttlSec: HOUR });
    // It has joined by the time that what came after it on the connection is answered.
    await manager.ping();
    await write(elsewhere);
    letGo();
    // They called before the write, and get what the load read.
    expect(await first).toBe('old');
    expect(await joined).toBe('old');
    expect(await kv.get('k')).toBe(after);
    expect(await kv.getOrSet('k', () => 'again', { ttlSec: HOUR })).toBe(after ?? 'again');
  });

  test('a list that was pushed while a load ran stays', async () => {
    const { load, letGo, running } = gated('old');
    const first = kv.getOrSet('k', load, { ttlSec: HOUR });
    await running;
    await kv.lpushRecent('k', 'new', 5);
    letGo();
    expect(await first).toBe('old');
    expect(await kv.getRecent('k', 5)).toEqual(['new']);
  });

  const changes: [name: string, write: (kv: KVStore) => Promise<unknown>, after: unknown][] = [
    ['set', (kv) => kv.set('k', 'new'), 'new'],
    ['the same value again', (kv) => kv.set('k', 1, HOUR + 7), 1],
    ['set for a moment', (kv) => kv.set('k', 'new', 0.02).then(() => gone('k')), null],
    ['cas', (kv) => kv.cas<unknown>('k', 1, 'new'), 'new'],
    ['update', (kv) => kv.update('k', () => 'new'), 'new'],
    ['incr', (kv) => kv.incr('k'), 2],
    ['expire', (kv) => kv.expire('k', 2 * HOUR), 1],
    ['expire to nothing', (kv) => kv.expire('k', 0.02).then(() => gone('k')), null],
    ['persist', (kv) => kv.persist('k'), 1],
    ['setBuffer', (kv) => kv.setBuffer('k', Buffer.from('"new"'), HOUR), 'new'],
    ['getSet', (kv) => kv.getSet('k', 'new', HOUR), 'new'],
    ['del', (kv) => kv.del('k'), null],
    ['getDel', (kv) => kv.getDel('k'), null],
  ];

  test.each(changes)('what a refresh loaded before a write is not stored: %s', async (_, write, after) => {
    const { load, letGo, running } = gated('refreshed');
    const mark = `${backend.namespace}:~load:{${backend.namespace}:k}`;
    const marked = async () => Number(await manager.command('EXISTS', mark));
    // Stale at once: it has less left than staleSec.
    await kv.set('k', 1, HOUR);
    expect(await kv.getOrSet('k', load, { ttlSec: HOUR, staleSec: 2 * HOUR })).toBe(1);
    await running;
    expect(await marked()).toBe(1);
    await write(elsewhere);
    letGo();
    await until(async () => (await marked()) === 0, { what: 'the refresh to be over' });
    expect(await kv.get('k')).toBe(after);
  });

  test('a refresh is stored though the stale value ran out meanwhile', async () => {
    const { load, letGo, running } = gated('refreshed');
    await kv.set('k', 'stale', 0.3);
    expect(await kv.getOrSet('k', load, { ttlSec: HOUR, staleSec: HOUR })).toBe('stale');
    await running;
    await gone('k');
    letGo();
    await until(async () => (await kv.get('k')) === 'refreshed', { what: 'the new value' });
  });

  test('who calls after a deletion does not join the load that ran before it', async () => {
    const { load, letGo, running } = gated('old');
    const first = kv.getOrSet('k', load, { ttlSec: HOUR });
    await running;
    await kv.del('k');
    expect(await kv.getOrSet('k', () => 'new', { ttlSec: HOUR })).toBe('new');
    letGo();
    expect(await first).toBe('old');
    expect(await kv.get('k')).toBe('new');
  });

  test('a load that is longer than its lease notices a value that came and went', async () => {
    const { load, letGo, running } = gated('old');
    const first = kv.getOrSet('k', load, { ttlSec: HOUR });
    await running;
    // Written by somebody who knows nothing of loads, for as long as two renewals may be apart.
    await put('"new"', 'PX', '3000');
    await gone('k');
    letGo();
    expect(await first).toBe('old');
    expect(await kv.get('k')).toBeNull();
  });

  test('a deletion counts keys of the user only', async () => {
    const { load, letGo, running } = gated('old');
    const first = kv.getOrSet('k', load, { ttlSec: HOUR });
    await running;
    expect(await kv.del('k')).toBe(0);
    await kv.mset({ a: 1, b: 2 });
    expect(await kv.del('a', 'b', 'k')).toBe(2);
    letGo();
    await first;
  });

  describe('time', () => {
    const never = () => new Promise<never>(() => {});

    test('who joins a load waits for its own waitMs', async () => {
      const { load, letGo, running } = gated('late');
      const first = kv.getOrSet('k', load, { ttlSec: HOUR });
      await running;
      const error = await errorOf(kv.getOrSet('k', load, { ttlSec: HOUR, waitMs: 30 }));
      expect([error.redisErrorKind, error.delivery]).toEqual(['timeout', 'rejected']);
      expect(error.message).toMatch(/waitMs, 30 ms/);
      letGo();
      expect(await first).toBe('late');
    });

    test('a load that never ends is given up, and another process loads', async () => {
      const { load, running } = gated('never');
      const stuck = errorOf(kv.getOrSet('k', load, { ttlSec: HOUR, loadTimeoutMs: 200 }));
      await running;
      const next = elsewhere.getOrSet('k', () => 'loaded elsewhere', { ttlSec: HOUR });
      const error = await stuck;
      expect(error.redisErrorKind).toBe('timeout');
      expect(error.message).toMatch(/loadTimeoutMs, 200 ms/);
      expect(await next).toBe('loaded elsewhere');
      expect(await kv.getOrSet('k', never, { ttlSec: HOUR })).toBe('loaded elsewhere');
    });

    test('a load that fails after its time is heard of by nobody', async () => {
      let fail!: (error: Error) => void;
      const load = () => new Promise<never>((_, reject) => (fail = reject));
      await errorOf(kv.getOrSet('k', load, { ttlSec: HOUR, loadTimeoutMs: 20 }));
      fail(new Error('too late'));
      expect(await kv.getOrSet('k', () => 'next', { ttlSec: HOUR })).toBe('next');
    });

    test('a refresh that never ends is an error event, and the next caller tries again', async () => {
      const errors: RedisError[] = [];
      manager.on('error', (error) => errors.push(error));
      await kv.set('k', 'stale', HOUR);
      const options = { ttlSec: 3 * HOUR, staleSec: 2 * HOUR, loadTimeoutMs: 20 };
      expect(await kv.getOrSet('k', never, options)).toBe('stale');
      await until(() => errors.length > 0, { what: 'the error event' });
      expect(errors[0]?.redisErrorKind).toBe('timeout');
      await until(async () => (await kv.getOrSet('k', () => 'fresh', options)) === 'fresh', { what: 'the next refresh' });
    });

    test('a function of `once` that never ends is given up, and its key runs out', async () => {
      const error = await errorOf(once(kv, 'k', never, 0.05, { timeoutMs: 30 }));
      expect([error.redisErrorKind, error.delivery]).toEqual(['timeout', 'maybe-executed']);
      await until(async () => (await once(kv, 'k', () => 'mine', HOUR)) === 'mine', { what: 'the key to run out' });
    });

    test('bad limits are refused', async () => {
      for (const bad of [0, -1, Number.NaN, 1e12, '1' as never]) {
        const load = await errorOf(kv.getOrSet('k', () => 1, { ttlSec: 1, loadTimeoutMs: bad }));
        expect([load.redisErrorKind, load.message]).toEqual(['config', expect.stringMatching(/^KVStore\.getOrSet: loadTimeoutMs: /)]);
        const fn = await errorOf(once(kv, 'k', () => 1, 1, { timeoutMs: bad }));
        expect([fn.redisErrorKind, fn.message]).toEqual([
          'config',
          expect.stringMatching(/^once\.timeoutMs: expected a number of milliseconds from 1 to/),
        ]);
      }
    });
  });

  describe('within a load', () => {
    test('asking for the same key is refused, also by a detour', async () => {
      const options = { ttlSec: HOUR };
      const self = await errorOf(kv.getOrSet('k', () => kv.getOrSet('k', () => 1, options), options));
      expect(self.redisErrorKind).toBe('config');
      expect(self.message).toMatch(/its own key/);
      const detour = kv.getOrSet('a', () => kv.getOrSet('b', () => kv.getOrSet('a', () => 1, options), options), options);
      expect((await errorOf(detour)).redisErrorKind).toBe('config');
    });

    test('asking for other keys, and for the same one later, is fine', async () => {
      const options = { ttlSec: HOUR };
      expect(await kv.getOrSet('a', () => kv.getOrSet('b', () => 1, options), options)).toBe(1);
      expect(await kv.getOrSet('a', () => 2, options)).toBe(1);
    });
  });

  // An engine inside the process cannot be frozen.
  const ofServers = backend.kind === 'redis-server' ? test : () => {};
  ofServers('who waits for a value of a server that is frozen waits for waitMs', async () => {
    const { server } = backend;
    if (server === undefined) throw new Error('no server');
    await kv.has('k');
    await server.freeze();
    try {
      const started = performance.now();
      const asked = [kv.getOrSet('k', () => 1, { ttlSec: HOUR, waitMs: 300 }), kv.getOrSet('l', () => 1, { ttlSec: HOUR, waitMs: 10 })];
      for (const error of await Promise.all(asked.map(errorOf))) {
        expect([error.redisErrorKind, error.message]).toEqual(['timeout', expect.stringMatching(/waitMs, (300|10) ms/)]);
      }
      // Less than commandTimeoutMs, which is 5 s.
      expect(performance.now() - started).toBeLessThan(4_000);
    } finally {
      server.thaw();
    }
    expect(await kv.getOrSet('k', () => 2, { ttlSec: HOUR, waitMs: 300 })).toBe(2);
  });
});
