/** `once` and `deduplicateEvent`: exactly one, whoever asks. */
import { deduplicateEvent, KVStore, once, type RedisConnectionManager, RedisError } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from './support/backends.ts';
import { startProcess } from './support/process.ts';
import { until } from './support/until.ts';

async function kindAndMessage(promise: Promise<unknown>): Promise<[string, string]> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof RedisError)) throw new Error('expected a RedisError', { cause: error });
  return [error.redisErrorKind, error.message];
}

describeBackends('once', (backend) => {
  let manager: RedisConnectionManager;
  let kv: KVStore;

  beforeEach(() => {
    manager = backend.manager();
    kv = new KVStore(manager);
  });

  test('of many concurrent callers exactly one runs, and the others get null', async () => {
    let runs = 0;
    const fn = async () => {
      runs += 1;
      return 'done';
    };
    const results = await Promise.all(Array.from({ length: 1_000 }, () => once(kv, 'k', fn, 100)));
    expect(runs).toBe(1);
    expect(results.filter((result) => result === 'done')).toHaveLength(1);
    expect(results.filter((result) => result === null)).toHaveLength(999);
    expect(await once(kv, 'k', fn, 100)).toBeNull();
  });

  test('the key is there for its time after the success', async () => {
    await once(kv, 'k', async () => undefined, 100);
    expect(await kv.ttl('k')).toBeGreaterThan(99);
    await once(kv, 'short', async () => 1, 0.05);
    await until(async () => (await once(kv, 'short', async () => 2, 100)) === 2, { what: 'the key to expire' });
  });

  test('a function that takes longer than the time is not run twice', async () => {
    let finish!: () => void;
    const slow = once(kv, 'k', () => new Promise<void>((resolve) => (finish = resolve)), 0.2);
    await until(() => finish !== undefined, { what: 'the function to begin' });
    const began = performance.now();
    await until(
      async () => {
        expect(await once(kv, 'k', async () => 'second', 0.2)).toBeNull();
        return performance.now() - began > 700;
      },
      { what: 'more than three times the expiry' },
    );
    finish();
    await slow;
    expect(await kv.ttl('k')).toBeGreaterThan(0.1);
  });

  test('nor is one with a time that is shorter than any renewal takes', async () => {
    let finish!: () => void;
    const slow = once(kv, 'k', () => new Promise<void>((resolve) => (finish = resolve)), 0.001);
    await until(() => finish !== undefined, { what: 'the function to begin' });
    const began = performance.now();
    await until(
      async () => {
        expect(await once(kv, 'k', async () => 'second', 0.001)).toBeNull();
        return performance.now() - began > 1_500;
      },
      { what: 'longer than the token would last by itself' },
    );
    finish();
    await slow;
    // Its own time counts from here: it is over, or as good as.
    expect((await kv.ttl('k')) ?? 0).toBeLessThan(0.01);
  });

  test('a lone surrogate is refused by the name of what it is in', async () => {
    const expected = { redisErrorKind: 'config', message: expect.stringMatching(/^once: key: .*lone surrogate$/) };
    await expect(once(kv, '\ud800', async () => 1, 1)).rejects.toMatchObject(expected);
    const eventId = { redisErrorKind: 'config', message: expect.stringMatching(/^deduplicateEvent: eventId: .*lone surrogate$/) };
    await expect(deduplicateEvent(kv, '\ud800', 1)).rejects.toMatchObject(eventId);
  });

  test('a function that fails leaves the key free', async () => {
    const failure = new Error('mine');
    await expect(once(kv, 'k', () => Promise.reject(failure), 100)).rejects.toBe(failure);
    expect(await kv.has('k')).toBe(false);
    const throws = () => {
      throw failure;
    };
    await expect(once(kv, 'k', throws, 100)).rejects.toBe(failure);
    expect(await once(kv, 'k', async () => 'second', 100)).toBe('second');
  });

  test('one that fails after its key was taken by another leaves that one’s key', async () => {
    const failure = new Error('mine');
    const first = once(
      kv,
      'k',
      async () => {
        await kv.set('k', 'of another');
        throw failure;
      },
      100,
    );
    await expect(first).rejects.toBe(failure);
    expect(await kv.get('k')).toBe('of another');
  });

  test('bad arguments are refused and nothing runs', async () => {
    let runs = 0;
    const fn = async () => {
      runs += 1;
    };
    for (const ttl of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '1' as never, undefined as never]) {
      expect(await kindAndMessage(once(kv, 'k', fn, ttl))).toEqual(['config', expect.stringMatching(/^once: ttlSec: expected/)]);
    }
    expect(await kindAndMessage(once(kv, '', fn, 1))).toEqual(['config', expect.stringMatching(/^once: key: expected/)]);
    expect(await kindAndMessage(once(kv, 'k', 5 as never, 1))).toEqual(['config', expect.stringMatching(/^once: fn: expected a function/)]);
    expect(await kindAndMessage(once(kv, 'k', fn, 1, { timeout: 5 } as never))).toEqual([
      'config',
      'once.timeout: expected one of the options timeoutMs, got an unknown option: did you mean timeoutMs?',
    ]);
    expect(await kindAndMessage(once({} as never, 'k', fn, 1))).toEqual(['config', expect.stringMatching(/^once: kv: expected a KVStore/)]);
    expect(runs).toBe(0);
    expect(await kv.has('k')).toBe(false);
  });

  test('a key of another type is an error of the server and nothing runs', async () => {
    await kv.lpushRecent('l', 1, 1);
    expect((await kindAndMessage(once(kv, 'l', async () => 1, 1)))[0]).toBe('server');
    expect(await kv.getRecent('l', 5)).toEqual([1]);
  });

  test('an event is new once, under its own key', async () => {
    const results = await Promise.all(Array.from({ length: 500 }, () => deduplicateEvent(kv, 'e:1', 100)));
    expect(results.filter(Boolean)).toHaveLength(1);
    expect(await kv.has('seen:e:1')).toBe(true);
    expect(await kv.ttl('seen:e:1')).toBeGreaterThan(99);
    expect(await deduplicateEvent(kv, 'e:2', 0.02)).toBe(true);
    await until(() => deduplicateEvent(kv, 'e:2', 100), { what: 'the mark to expire' });
  });

  test('an event whose id begins with ~ is remembered, and forgotten by clear()', async () => {
    const store = new KVStore(manager, { namespace: 'events' });
    for (const id of ['~a', 'x:~y', '%7Ea']) {
      expect(await deduplicateEvent(store, id, 100)).toBe(true);
      expect(await deduplicateEvent(store, id, 100)).toBe(false);
    }
    expect(await store.clear()).toBe(3);
    for (const id of ['~a', 'x:~y', '%7Ea']) expect(await deduplicateEvent(store, id, 100)).toBe(true);
  });

  test('an event id may be anything but empty', async () => {
    for (const id of ['~a', '\r\n\0', '{}', '😀', 'x'.repeat(1 << 20)]) {
      expect(await deduplicateEvent(kv, id, 100)).toBe(true);
      expect(await deduplicateEvent(kv, id, 100)).toBe(false);
    }
    for (const id of ['', 5 as never, undefined as never, null as never]) {
      expect(await kindAndMessage(deduplicateEvent(kv, id, 100))).toEqual([
        'config',
        expect.stringMatching(/^deduplicateEvent: eventId: /),
      ]);
    }
    expect((await kindAndMessage(deduplicateEvent(kv, '\ud800', 100)))[0]).toBe('config');
    expect((await kindAndMessage(deduplicateEvent(kv, 'a', 0)))[1]).toMatch(/^deduplicateEvent: ttlSec: /);
  });
});

describeBackends(
  'once, between processes',
  (backend) => {
    test('of 1 000 concurrent callers in 4 processes exactly one runs', async () => {
      const children = Array.from({ length: 4 }, () =>
        startProcess(
          async ({ redis, args, emit }) => {
            const manager = new redis.RedisConnectionManager(args);
            const kv = new redis.KVStore(manager);
            await manager.connect();
            const begin = new Promise((resolve) => {
              const hold = setInterval(() => {}, 1_000);
              process.once('SIGUSR2', () => resolve(clearInterval(hold)));
            });
            emit('ready');
            await begin;
            let runs = 0;
            const run = async () => {
              runs += 1;
              return 'ran';
            };
            const [results, events] = await Promise.all([
              Promise.all(Array.from({ length: 250 }, () => redis.once(kv, 'k', run, 100))),
              Promise.all(Array.from({ length: 250 }, () => redis.deduplicateEvent(kv, 'e', 100))),
            ]);
            emit({
              runs,
              ran: results.filter((result) => result === 'ran').length,
              nulls: results.filter((result) => result === null).length,
              first: events.filter(Boolean).length,
            });
            await manager.disconnect();
          },
          { args: { url: backend.url, namespace: backend.namespace } },
        ),
      );
      await Promise.all(children.map((child) => child.line((line) => line === 'ready')));
      for (const child of children) process.kill(child.pid, 'SIGUSR2');
      type Report = { runs: number; ran: number; nulls: number; first: number };
      const reports = (await Promise.all(children.map((child) => child.ended))).map((ended) => ended.lines[1] as Report);
      const sum = (field: keyof Report) => reports.reduce((total, report) => total + report[field], 0);
      expect({ runs: sum('runs'), ran: sum('ran'), nulls: sum('nulls'), first: sum('first') }).toEqual({
        runs: 1,
        ran: 1,
        nulls: 999,
        first: 1,
      });
    });

    test('a process that dies in the middle leaves the key to run out', async () => {
      const child = startProcess(
        ({ redis, args, emit }) => {
          const kv = new redis.KVStore(new redis.RedisConnectionManager(args));
          setInterval(() => {}, 1_000);
          return redis.once(kv, 'k', () => new Promise(() => emit('running')), 0.5);
        },
        { args: { url: backend.url, namespace: backend.namespace } },
      );
      await child.line();
      const kv = new KVStore(backend.manager());
      expect(await once(kv, 'k', async () => 'too soon', 100)).toBeNull();
      await child.kill9();
      await until(async () => (await once(kv, 'k', async () => 'second', 100)) === 'second', { what: 'the key to run out' });
    });
  },
  ['redis-server'],
);
