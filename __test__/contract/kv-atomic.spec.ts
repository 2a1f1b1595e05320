/** What must be atomic: compare-and-set, update, getOrSet; raced within a process and between several. */
import { KVStore, type RedisConnectionManager, RedisError } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { startProcess } from '../support/process.ts';
import { stretched } from '../support/starvation.ts';
import { until } from '../support/until.ts';

/** A promise and its ends. */
function deferred<T = void>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}

async function kindOf(promise: Promise<unknown>): Promise<string | undefined> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  return error instanceof RedisError ? error.redisErrorKind : undefined;
}

describeBackends('KV store, atomically', (backend) => {
  let manager: RedisConnectionManager;
  let kv: KVStore;

  beforeEach(() => {
    manager = backend.manager();
    kv = new KVStore(manager);
  });

  const putRaw = (key: string, value: string) => manager.command('SET', `${backend.namespace}:${key}`, value);

  describe('cas', () => {
    test('it sets only if the value is the expected one', async () => {
      expect(await kv.cas('k', 1, 2)).toBe(false);
      expect(await kv.cas('k', null, 1)).toBe(true);
      expect(await kv.cas('k', null, 5)).toBe(false);
      expect(await kv.cas('k', 2, 3)).toBe(false);
      expect(await kv.cas<unknown>('k', 1, { a: [1] })).toBe(true);
      expect(await kv.cas<unknown>('k', { a: [1] }, 'end')).toBe(true);
      expect(await kv.get('k')).toBe('end');
    });

    test('the expiry is kept, or set where one is given', async () => {
      await kv.set('k', 1, 100);
      await kv.cas('k', 1, 2);
      expect(await kv.ttl('k')).toBeGreaterThan(99);
      await kv.cas('k', 2, 3, 1_000);
      expect(await kv.ttl('k')).toBeGreaterThan(999);
      await kv.cas('new', null, 1, 100);
      expect(await kv.ttl('new')).toBeGreaterThan(99);
      await kv.cas('bare', null, 1);
      expect(await kv.ttl('bare')).toBe(Number.POSITIVE_INFINITY);
    });

    test('a value matches however it was written', async () => {
      const written: [string, unknown][] = [
        ['{"b":1,"a":{"d":[1,2],"c":"x"}}', { a: { c: 'x', d: [1, 2] }, b: 1 }],
        [' [ 1.0 , 1e2 ] ', [1, 100]],
        ['"\\u00e9"', 'é'],
        ['plain text', 'plain text'],
      ];
      for (const [text, expected] of written) {
        await putRaw('k', text);
        expect(await kv.cas('k', expected, 'next'), text).toBe(true);
      }
      await putRaw('k', '{"a":1,"b":2}');
      expect(await kv.cas<unknown>('k', { a: 1 }, 'next')).toBe(false);
      expect(await kv.cas<unknown>('k', { a: 1, b: '2' }, 'next')).toBe(false);
    });

    test('of many with the same expectation exactly one sets', async () => {
      await kv.set('k', 'begin');
      const results = await Promise.all(Array.from({ length: 300 }, (_, i) => kv.cas<unknown>('k', 'begin', i)));
      expect(results.filter(Boolean)).toHaveLength(1);
      expect(await kv.get('k')).toBe(results.indexOf(true));
    });
  });

  describe('update', () => {
    test('it gives the new value, and null deletes', async () => {
      expect(await kv.update<number>('k', (n) => (n ?? 0) + 1)).toBe(1);
      expect(await kv.update<number>('k', (n) => (n ?? 0) + 1)).toBe(2);
      expect(await kv.get('k')).toBe(2);
      expect(await kv.update('k', () => null)).toBeNull();
      expect(await kv.has('k')).toBe(false);
      expect(await kv.update('k', () => null)).toBeNull();
    });

    test('the expiry is kept, or set where one is given', async () => {
      await kv.set('k', 1, 100);
      await kv.update<number>('k', (n) => (n ?? 0) + 1);
      expect(await kv.ttl('k')).toBeGreaterThan(99);
      await kv.update<number>('k', (n) => n, { ttlSec: 1_000 });
      expect(await kv.ttl('k')).toBeGreaterThan(999);
    });

    test('a stored null is a value', async () => {
      await kv.set('k', null);
      expect(await kv.update<number>('k', (n) => (n === null ? 1 : 2))).toBe(1);
      expect(await kv.get('k')).toBe(1);
    });

    test('a value written by others keeps its bytes where nothing is changed', async () => {
      await putRaw('k', ' {"a": 1} ');
      await kv.update('k', (value) => value);
      expect(await kv.get('k')).toEqual({ a: 1 });
    });

    test('nothing is lost between 1 000 concurrent updates, each of its own copy', async () => {
      const results = await Promise.all(
        Array.from({ length: 1_000 }, (_, i) =>
          kv.update<number[]>('k', (list) => {
            const own = list ?? [];
            own.push(i);
            return own;
          }),
        ),
      );
      const stored = (await kv.get<number[]>('k')) as number[];
      expect([...stored].sort((a, b) => a - b)).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
      expect(results.map((list) => (list as number[]).length).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 1_000 }, (_, i) => i + 1),
      );
    });

    test('two hundred thousand at once all settle', async () => {
      const results = await Promise.all(Array.from({ length: 200_000 }, () => kv.update<number>('k', (n) => (n ?? 0) + 1)));
      expect(new Set(results).size).toBe(200_000);
      expect(await kv.get('k')).toBe(200_000);
    });

    test('one that throws fails alone', async () => {
      const failure = new Error('mine');
      const [good, bad, worse, last] = await Promise.allSettled([
        kv.update<number>('k', (n) => (n ?? 0) + 1),
        kv.update<number>('k', () => {
          throw failure;
        }),
        kv.update<number>('k', (() => Promise.resolve(1)) as never),
        kv.update<number>('k', (n) => (n ?? 0) + 1, { ttlSec: 100 }),
      ]);
      expect(good).toMatchObject({ status: 'fulfilled', value: 1 });
      expect(bad).toMatchObject({ status: 'rejected', reason: failure });
      expect(worse).toMatchObject({ status: 'rejected', reason: { redisErrorKind: 'config' } });
      expect(last).toMatchObject({ status: 'fulfilled', value: 2 });
      expect(await kv.get('k')).toBe(2);
      expect(await kv.ttl('k')).toBeGreaterThan(99);
    });

    test('a delete among concurrent updates takes the expiry with it', async () => {
      await kv.set('k', 1, 100);
      await Promise.all([kv.update('k', () => null), kv.update<number>('k', (n) => (n === null ? 7 : 8))]);
      expect(await kv.get('k')).toBe(7);
      expect(await kv.ttl('k')).toBe(Number.POSITIVE_INFINITY);
    });

    test('it gives up after maxAttempts with kind timeout', async () => {
      let calls = 0;
      // Nobody else can be faster every time, so the change itself lets somebody be.
      const other = new KVStore(manager);
      const changing = kv.update<number>(
        'k',
        (n) => {
          calls += 1;
          void other.set('k', calls * 10);
          return (n ?? 0) + 1;
        },
        { maxAttempts: 3 },
      );
      const error = await changing.catch((caught: unknown) => caught);
      expect(error).toMatchObject({ redisErrorKind: 'timeout', delivery: 'rejected', retryable: true });
      expect(calls).toBe(3);
    });

    test('bad options are refused', async () => {
      const change = (n: number | null) => n;
      for (const maxAttempts of [0, -1, 1.5, Number.NaN, '3' as never]) {
        expect(await kindOf(kv.update('k', change, { maxAttempts }))).toBe('config');
      }
      expect(await kindOf(kv.update('k', change, { attempts: 3 } as never))).toBe('config');
      expect(await kindOf(kv.update('k', 5 as never))).toBe('config');
      expect(await kindOf(kv.update('k', change, null as never))).toBe('config');
    });
  });

  describe('getOrSet', () => {
    test('it loads once and stores what was loaded', async () => {
      let loads = 0;
      const load = () => {
        loads += 1;
        return { loads };
      };
      expect(await kv.getOrSet('k', load, { ttlSec: 100 })).toEqual({ loads: 1 });
      expect(await kv.getOrSet('k', load, { ttlSec: 100 })).toEqual({ loads: 1 });
      expect(await kv.ttl('k')).toBeGreaterThan(99);
      expect(loads).toBe(1);
    });

    test('callers of one process share a load, each with its own copy', async () => {
      const gate = deferred<Date>();
      let loads = 0;
      const load = () => {
        loads += 1;
        return gate.promise;
      };
      const other = new KVStore(manager);
      const calls = Array.from({ length: 100 }, (_, i) => (i % 2 ? kv : other).getOrSet<unknown>('k', load, { ttlSec: 100 }));
      await until(() => loads === 1, { what: 'the load to begin' });
      gate.resolve(new Date(0));
      const values = await Promise.all(calls);
      expect(new Set(values)).toEqual(new Set(['1970-01-01T00:00:00.000Z']));
      expect(loads).toBe(1);
    });

    test('a failed load is the error of all who waited for it, and the next call loads', async () => {
      const failure = new Error('mine');
      const calls = Array.from({ length: 10 }, () => kv.getOrSet('k', () => Promise.reject(failure), { ttlSec: 100 }));
      for (const result of await Promise.allSettled(calls)) expect(result).toMatchObject({ status: 'rejected', reason: failure });
      expect(await kv.getOrSet('k', () => 'ok', { ttlSec: 100 })).toBe('ok');
    });

    test('null and false are values like any other', async () => {
      let loads = 0;
      for (const value of [null, false, 0, '']) {
        const load = () => {
          loads += 1;
          return value;
        };
        expect(await kv.getOrSet(`k:${value}`, load, { ttlSec: 100 })).toBe(value);
        expect(await kv.getOrSet(`k:${value}`, load, { ttlSec: 100 })).toBe(value);
      }
      expect(loads).toBe(4);
    });

    test('hits and misses are counted', async () => {
      const before = manager.metrics();
      for (let i = 0; i < 3; i++) await kv.getOrSet('k', () => 1, { ttlSec: 100 });
      const after = manager.metrics();
      expect([
        after.redis_cache_hit_total - before.redis_cache_hit_total,
        after.redis_cache_miss_total - before.redis_cache_miss_total,
      ]).toEqual([2, 1]);
    });

    test('a stale value is given at once while one caller loads a new one', async () => {
      const gate = deferred<string>();
      let loads = 0;
      const options = { ttlSec: 0.05, staleSec: 100 };
      await kv.getOrSet('k', () => 'old', options);
      const load = () => {
        loads += 1;
        return gate.promise;
      };
      await until(
        async () => {
          expect(await kv.getOrSet('k', load, options)).toBe('old');
          return loads === 1;
        },
        { what: 'the value to become stale' },
      );
      for (let i = 0; i < 20; i++) expect(await kv.getOrSet('k', load, options)).toBe('old');
      expect(loads).toBe(1);
      gate.resolve('new');
      await until(async () => (await kv.get('k')) === 'new', { what: 'the new value' });
    });

    test('a failed refresh is an error event, and the stale value stays', async () => {
      const errors: RedisError[] = [];
      manager.on('error', (error) => errors.push(error));
      const failure = new Error('mine');
      const options = { ttlSec: 0.02, staleSec: 100 };
      await kv.getOrSet('k', () => 'old', options);
      await until(
        async () => {
          expect(await kv.getOrSet('k', () => Promise.reject(failure), options)).toBe('old');
          return errors.length > 0;
        },
        { what: 'the error event' },
      );
      expect(errors[0]?.cause).toBe(failure);
      await until(
        async () => {
          await kv.getOrSet('k', () => 'new', { ttlSec: 100, staleSec: 100 });
          return (await kv.get('k')) === 'new';
        },
        { what: 'a later refresh' },
      );
    });

    test('bad options are refused', async () => {
      const load = () => 1;
      for (const staleSec of [-1, Number.NaN, Number.POSITIVE_INFINITY, '1' as never]) {
        expect(await kindOf(kv.getOrSet('k', load, { ttlSec: 1, staleSec }))).toBe('config');
      }
      for (const waitMs of [-1, Number.NaN, 1e12, '1' as never]) {
        expect(await kindOf(kv.getOrSet('k', load, { ttlSec: 1, waitMs }))).toBe('config');
      }
      expect(await kindOf(kv.getOrSet('k', load, { ttlSec: 1, ttl: 1 } as never))).toBe('config');
      expect(await kindOf(kv.getOrSet('k', load, undefined as never))).toBe('config');
      expect(await kindOf(kv.getOrSet('k', 5 as never, { ttlSec: 1 }))).toBe('config');
    });
  });
});

describeBackends(
  'KV store, between processes',
  (backend) => {
    const args = () => ({ url: backend.url, namespace: backend.namespace });

    test('nothing is lost between updates of four processes', async () => {
      const children = Array.from({ length: 4 }, () =>
        startProcess(
          async ({ redis, args, emit }) => {
            const manager = new redis.RedisConnectionManager(args);
            const kv = new redis.KVStore(manager);
            for (let round = 0; round < 25; round++) {
              await Promise.all(Array.from({ length: 10 }, () => kv.update<number>('n', (n) => (n ?? 0) + 1, { maxAttempts: 1_000 })));
            }
            emit('done');
            await manager.disconnect();
          },
          { args: args() },
        ),
      );
      for (const ended of await Promise.all(children.map((child) => child.ended))) expect(ended.code).toBe(0);
      expect(await new KVStore(backend.manager()).get('n')).toBe(1_000);
    });

    test('of two processes one loads, and the other gets its value', async () => {
      const child = startProcess(
        async ({ redis, args, emit }) => {
          const manager = new redis.RedisConnectionManager(args);
          const kv = new redis.KVStore(manager);
          const load = async () => {
            emit('loading');
            // Longer than the lease of the right to load: it is renewed.
            await new Promise((resolve) => setTimeout(resolve, 4_000));
            return 'from the child';
          };
          emit(await kv.getOrSet('k', load, { ttlSec: 100 }));
          await manager.disconnect();
        },
        { args: args() },
      );
      await child.line((line) => line === 'loading');
      const kv = new KVStore(backend.manager());
      let loads = 0;
      const value = await kv.getOrSet(
        'k',
        () => {
          loads += 1;
          return 'from the parent';
        },
        { ttlSec: 100 },
      );
      expect([value, loads]).toEqual(['from the child', 0]);
      expect((await child.ended).lines).toEqual(['loading', 'from the child']);
    });

    test('a loader that is killed is succeeded within its lease', async () => {
      const child = startProcess(
        ({ redis, args, emit }) => {
          const kv = new redis.KVStore(new redis.RedisConnectionManager(args));
          setInterval(() => {}, 1_000);
          return kv.getOrSet('k', () => new Promise(() => emit('loading')), { ttlSec: 100 });
        },
        { args: args() },
      );
      await child.line((line) => line === 'loading');
      const kv = new KVStore(backend.manager());
      expect(await kindOf(kv.getOrSet('k', () => 'too soon', { ttlSec: 100, waitMs: 50 }))).toBe('timeout');
      await child.kill9();
      const began = performance.now();
      expect(await kv.getOrSet('k', () => 'mine', { ttlSec: 100 })).toBe('mine');
      expect(performance.now() - began).toBeLessThan(stretched(5_000));
    });

    test('a load that fails in one process is made in another that waits', async () => {
      const child = startProcess(
        async ({ redis, args, emit }) => {
          const manager = new redis.RedisConnectionManager(args);
          const kv = new redis.KVStore(manager);
          const fail = new Promise((_, reject) => process.once('SIGUSR2', () => reject(new Error('mine'))));
          const hold = setInterval(() => {}, 1_000);
          await kv
            .getOrSet(
              'k',
              () => {
                emit('loading');
                return fail;
              },
              { ttlSec: 100 },
            )
            .catch((error: Error) => emit(error.message));
          clearInterval(hold);
          await manager.disconnect();
        },
        { args: args() },
      );
      await child.line((line) => line === 'loading');
      const value = new KVStore(backend.manager()).getOrSet('k', () => 'from the parent', { ttlSec: 100 });
      process.kill(child.pid, 'SIGUSR2');
      expect(await value).toBe('from the parent');
      expect((await child.ended).lines).toEqual(['loading', 'mine']);
    });
  },
  ['redis-server'],
);
