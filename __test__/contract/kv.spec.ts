/** What every method of the KV store does, on every backend. */
import { KVStore, makeRedisKV, type RedisConnectionManager, RedisError, type RedisErrorKind } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

/** Rejects unless `promise` rejects with that kind and a message that matches. */
async function refuses(promise: Promise<unknown>, kind: RedisErrorKind, message?: RegExp): Promise<RedisError> {
  const error = await promise.then(
    (value) => {
      throw new Error(`expected kind ${kind}, got a value of type ${typeof value}`);
    },
    (caught: unknown) => caught,
  );
  if (!(error instanceof RedisError)) throw error;
  expect(error.redisErrorKind, error.message).toBe(kind);
  if (message) expect(error.message).toMatch(message);
  return error;
}

describeBackends('KV store', (backend) => {
  let manager: RedisConnectionManager;
  let kv: KVStore;

  beforeEach(() => {
    manager = backend.manager();
    kv = new KVStore(manager);
  });

  /** Stores bytes as another program would. */
  const putRaw = (key: string, value: string | Buffer) => manager.command('SET', `${backend.namespace}:${key}`, value);
  const getRaw = (key: string) => manager.command<string | null>('GET', `${backend.namespace}:${key}`);

  describe('get and set', () => {
    test('a value comes back as JSON makes it', async () => {
      for (const value of ['text', '', 0, -1.5, true, false, null, [], {}, [1, [2, { a: null }]], { 'a b': { c: 'ü' } }]) {
        await kv.set('k', value);
        expect(await kv.get('k')).toEqual(value);
      }
    });

    test('a key that is not there is null', async () => {
      expect(await kv.get('nothing')).toBeNull();
      expect(await kv.getBuffer('nothing')).toBeNull();
      expect(await kv.has('nothing')).toBe(false);
    });

    test('set replaces the value and the expiry', async () => {
      await kv.set('k', 1, 100);
      expect(await kv.ttl('k')).toBeGreaterThan(99);
      await kv.set('k', 2);
      expect(await kv.ttl('k')).toBe(Number.POSITIVE_INFINITY);
      expect(await kv.set('k', 3, 100)).toBeUndefined();
    });

    test('an expiry in fractions of a second is exact to a millisecond', async () => {
      await kv.set('k', 1, 60.5);
      const ttl = (await kv.ttl('k')) as number;
      expect(ttl).toBeLessThanOrEqual(60.5);
      expect(ttl).toBeGreaterThan(59.5);
    });

    test('a value is gone when its time is over', async () => {
      await kv.set('k', 1, 0.02);
      await until(async () => (await kv.get('k')) === null, { what: 'the value to expire' });
      expect(await kv.ttl('k')).toBeNull();
    });

    test('setIfAbsent sets once and leaves the first value and expiry', async () => {
      expect(await kv.setIfAbsent('k', 'first', 100)).toBe(true);
      expect(await kv.setIfAbsent('k', 'second', 5)).toBe(false);
      expect(await kv.get('k')).toBe('first');
      expect(await kv.ttl('k')).toBeGreaterThan(99);
    });

    test('of many setIfAbsent at once exactly one sets', async () => {
      const results = await Promise.all(Array.from({ length: 500 }, (_, i) => kv.setIfAbsent('k', i)));
      expect(results.filter(Boolean)).toHaveLength(1);
      expect(await kv.get('k')).toBe(results.indexOf(true));
    });

    test('bytes come back exactly', async () => {
      const all = Uint8Array.from({ length: 256 }, (_, i) => i);
      await kv.setBuffer('k', all, 100);
      const back = await kv.getBuffer('k');
      expect(Buffer.isBuffer(back)).toBe(true);
      expect(back?.equals(all)).toBe(true);
      await kv.setBuffer('k', new Uint8Array(0));
      expect(await kv.getBuffer('k')).toHaveLength(0);
      expect(await kv.ttl('k')).toBe(Number.POSITIVE_INFINITY);
    });

    test('a part of a larger buffer is stored as that part', async () => {
      await kv.setBuffer('k', Buffer.from('abcdef').subarray(2, 4));
      expect(String(await kv.getBuffer('k'))).toBe('cd');
    });

    test('getDel gives the value and deletes it', async () => {
      await kv.set('k', { a: 1 });
      expect(await kv.getDel('k')).toEqual({ a: 1 });
      expect(await kv.getDel('k')).toBeNull();
    });

    test('getSet gives the value before', async () => {
      expect(await kv.getSet('k', 1, 100)).toBeNull();
      expect(await kv.getSet('k', 2)).toBe(1);
      expect(await kv.get('k')).toBe(2);
      expect(await kv.ttl('k')).toBe(Number.POSITIVE_INFINITY);
    });
  });

  describe('many keys', () => {
    test('del says how many there were, and none without keys', async () => {
      await kv.mset({ a: 1, b: 2 });
      expect(await kv.del('a', 'b', 'c')).toBe(2);
      expect(await kv.del()).toBe(0);
    });

    test('mget keeps the order and says null where nothing is', async () => {
      await kv.mset({ a: 1, b: [2] });
      expect(await kv.mget(['b', 'x', 'a', 'b'])).toEqual([[2], null, 1, [2]]);
      expect(await kv.mget([])).toEqual([]);
    });

    test('mset takes records, maps and iterables of pairs', async () => {
      await kv.mset({ a: 1 });
      await kv.mset(new Map([['b', 2]]));
      await kv.mset(
        (function* (): Generator<[string, unknown]> {
          yield ['c', 3];
          yield ['c', 4];
        })(),
      );
      await kv.mset({});
      expect(await kv.mget(['a', 'b', 'c'])).toEqual([1, 2, 4]);
    });

    test('mset with an expiry gives it to all of them', async () => {
      await kv.mset({ a: 1, b: 2 }, 100);
      for (const key of ['a', 'b']) expect(await kv.ttl(key)).toBeGreaterThan(99);
      await kv.mset([
        ['a', 5],
        ['a', 6],
      ]);
      expect(await kv.get('a')).toBe(6);
      expect(await kv.ttl('a')).toBe(Number.POSITIVE_INFINITY);
    });

    test('mset of a bad entry sets nothing', async () => {
      await refuses(kv.mset({ a: 1, b: undefined }), 'serialization', /^KVStore\.mset: value: .* got undefined/);
      await refuses(kv.mset({ a: 1, '': 2 }), 'config', /^KVStore\.mset: key: /);
      await refuses(kv.mset({ a: 1 }, 0), 'config', /^KVStore\.mset: ttlSec: /);
      await refuses(kv.mset({}, -1), 'config', /^KVStore\.mset: ttlSec: /);
      expect(await kv.has('a')).toBe(false);
    });

    test('two hundred thousand values go in one call', async () => {
      const count = 200_000;
      await kv.mset(Array.from({ length: count }, (_, i): [string, unknown] => [`many:${i}`, i]));
      const values = await kv.mget<number>(Array.from({ length: count }, (_, i) => `many:${i}`));
      expect(values.every((value, i) => value === i)).toBe(true);
      expect(await kv.del(...Array.from({ length: 1_000 }, (_, i) => `many:${i}`))).toBe(1_000);
      expect(await kv.clear()).toBe(count - 1_000);
    });
  });

  describe('counters', () => {
    test('they begin at 0 and go both ways', async () => {
      expect(await kv.incr('n')).toBe(1);
      expect(await kv.incr('n', 10)).toBe(11);
      expect(await kv.decr('n')).toBe(10);
      expect(await kv.decr('n', 15)).toBe(-5);
      expect(await kv.incr('n', -5)).toBe(-10);
      expect(await kv.incr('n', 0)).toBe(-10);
      expect(await kv.get('n')).toBe(-10);
    });

    test('only a new counter gets the expiry', async () => {
      expect(await kv.incr('n', 5, 100)).toBe(5);
      expect(await kv.ttl('n')).toBeGreaterThan(99);
      expect(await kv.incr('n', 1, 5_000)).toBe(6);
      expect(await kv.ttl('n')).toBeLessThanOrEqual(100);
      await kv.set('m', 1);
      await kv.incr('m', 1, 100);
      expect(await kv.ttl('m')).toBe(Number.POSITIVE_INFINITY);
    });

    test('a number that JavaScript does not hold is refused', async () => {
      await kv.set('n', Number.MAX_SAFE_INTEGER - 1);
      expect(await kv.incr('n')).toBe(Number.MAX_SAFE_INTEGER);
      await refuses(kv.incr('n'), 'serialization', /2\^53/);
      await refuses(kv.incr('n', 1, 10), 'serialization', /2\^53/);
    });

    test('what is no whole number is refused by the server, and left', async () => {
      await kv.set('n', 'text', 100);
      const error = await refuses(kv.incr('n'), 'server');
      expect(error.delivery).toBe('rejected');
      await refuses(kv.incr('n', 1, 10), 'server');
      expect(await kv.get('n')).toBe('text');
    });

    test('a step that is no whole number is refused', async () => {
      for (const by of [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1' as never, null as never]) {
        await refuses(kv.incr('n', by), 'config', /^KVStore\.incr: by: expected a whole number/);
        await refuses(kv.decr('n', by), 'config', /^KVStore\.decr: by: expected a whole number/);
      }
      expect(await kv.has('n')).toBe(false);
    });
  });

  describe('expiry', () => {
    test('expire, ttl and persist agree', async () => {
      expect(await kv.expire('k', 10)).toBe(false);
      expect(await kv.persist('k')).toBe(false);
      expect(await kv.ttl('k')).toBeNull();
      await kv.set('k', 1);
      expect(await kv.persist('k')).toBe(false);
      expect(await kv.expire('k', 10)).toBe(true);
      expect(await kv.ttl('k')).toBeGreaterThan(9);
      expect(await kv.persist('k')).toBe(true);
      expect(await kv.ttl('k')).toBe(Number.POSITIVE_INFINITY);
    });

    test('the smallest and the largest expiry are taken', async () => {
      await kv.set('k', 1, 9_007_199_254_740);
      expect(await kv.ttl('k')).toBeGreaterThan(9_007_199_254_000);
      await kv.set('k', 1, Number.MIN_VALUE);
      await until(async () => !(await kv.has('k')), { what: 'the value to expire' });
    });

    test('every bad expiry is refused by name, and nothing is set', async () => {
      const bad = [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e13, '5' as never, null as never, {} as never];
      for (const ttl of bad) {
        await refuses(kv.set('k', 1, ttl), 'config', /^KVStore\.set: ttlSec: expected a number of seconds/);
        await refuses(kv.setIfAbsent('k', 1, ttl), 'config', /^KVStore\.setIfAbsent: ttlSec: /);
        await refuses(kv.setBuffer('k', Buffer.from('a'), ttl), 'config', /^KVStore\.setBuffer: ttlSec: /);
        await refuses(kv.getSet('k', 1, ttl), 'config', /^KVStore\.getSet: ttlSec: /);
        await refuses(kv.incr('k', 1, ttl), 'config', /^KVStore\.incr: ttlSec: /);
        await refuses(kv.cas('k', null, 1, ttl), 'config', /^KVStore\.cas: ttlSec: /);
        await refuses(kv.cacheSet('k', 1, ttl), 'config', /^KVStore\.cacheSet: ttlSec: /);
        await refuses(kv.lpushRecent('k', 1, 1, ttl), 'config', /^KVStore\.lpushRecent: ttlSec: /);
        await refuses(kv.expire('k', ttl), 'config', /^KVStore\.expire: ttlSec: /);
        await refuses(
          kv.update('k', () => 1, { ttlSec: ttl }),
          'config',
          /^KVStore\.update: ttlSec: /,
        );
        await refuses(
          kv.getOrSet('k', () => 1, { ttlSec: ttl }),
          'config',
          /^KVStore\.getOrSet: ttlSec: /,
        );
      }
      await refuses(kv.expire('k', undefined as never), 'config', /^KVStore\.expire: ttlSec: .* got nothing/);
      expect(await kv.has('k')).toBe(false);
    });
  });

  describe('recent lists', () => {
    test('the newest come first, and no more than the limit are kept', async () => {
      expect(await kv.getRecent('l', 10)).toEqual([]);
      for (let i = 1; i <= 5; i++) expect(await kv.lpushRecent('l', { i }, 3)).toBe(Math.min(i, 3));
      expect(await kv.getRecent('l', 10)).toEqual([{ i: 5 }, { i: 4 }, { i: 3 }]);
      expect(await kv.getRecent('l', 1)).toEqual([{ i: 5 }]);
    });

    test('the expiry is renewed where one is given, else kept', async () => {
      await kv.lpushRecent('l', 1, 3);
      expect(await kv.ttl('l')).toBe(Number.POSITIVE_INFINITY);
      await kv.lpushRecent('l', 1, 3, 100);
      await kv.lpushRecent('l', 1, 3);
      expect(await kv.ttl('l')).toBeGreaterThan(99);
    });

    test('concurrent pushes never leave more than the limit', async () => {
      await Promise.all(Array.from({ length: 200 }, (_, i) => kv.lpushRecent('l', i, 10)));
      expect(await kv.getRecent('l', 1_000)).toHaveLength(10);
    });

    test('a bad limit is refused', async () => {
      for (const limit of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '3' as never, undefined as never]) {
        await refuses(kv.lpushRecent('l', 1, limit), 'config', /^KVStore\.lpushRecent: limit: expected a whole number from 1/);
        await refuses(kv.getRecent('l', limit), 'config', /^KVStore\.getRecent: limit: expected a whole number from 1/);
      }
      expect(await kv.has('l')).toBe(false);
    });
  });

  describe('scan and clear', () => {
    const all = async (store: KVStore, match?: string): Promise<string[]> => {
      const keys: string[] = [];
      for await (const key of store.scan(match === undefined ? undefined : { match })) keys.push(key);
      return [...new Set(keys)].sort();
    };

    test('scan gives the keys without the namespace, and only those of it', async () => {
      const inner = new KVStore(manager, { namespace: 'inner' });
      await inner.mset({ a: 1, b: 2 });
      await kv.set('other', 3);
      await (await inner.lock('a')).release();
      expect(await all(inner)).toEqual(['a', 'b']);
      expect(await all(kv)).toEqual(['inner:a', 'inner:b', 'other']);
    });

    test('scan matches a pattern of the user’s own keys', async () => {
      await kv.mset({ 'user:1': 1, 'user:2': 2, 'item:1': 3 });
      expect(await all(kv, 'user:*')).toEqual(['user:1', 'user:2']);
      expect(await all(kv, '*:[1]')).toEqual(['item:1', 'user:1']);
      expect(await all(kv, 'nothing*')).toEqual([]);
    });

    test('glob characters of a namespace mean themselves', async () => {
      const odd = new KVStore(manager, { namespace: 'a*[b]?\\' });
      await kv.mset({ 'aXXb:x': 1, 'ab:x': 1 });
      await odd.set('mine', 1);
      expect(await all(odd)).toEqual(['mine']);
      expect(await odd.clear()).toBe(1);
      expect(await kv.mget(['aXXb:x', 'ab:x'])).toEqual([1, 1]);
    });

    test('every one of many keys is given', async () => {
      const entries = Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`k${i}`, i]));
      await kv.mset(entries);
      expect(await all(kv)).toEqual(Object.keys(entries).sort());
    });

    test('break ends the scan', async () => {
      await kv.mset(Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`k${i}`, i])));
      let seen = 0;
      for await (const _ of kv.scan()) {
        seen += 1;
        if (seen === 3) break;
      }
      expect(seen).toBe(3);
    });

    test('clear deletes what is in the namespace, whatever its type, and nothing else', async () => {
      const inner = new KVStore(manager, { namespace: 'inner' });
      await inner.mset({ a: 1, b: 2 });
      await inner.lpushRecent('l', 1, 5);
      const lock = await inner.lock('a');
      await kv.set('other', 1);
      expect(await inner.clear()).toBe(3);
      expect(await all(kv)).toEqual(['other']);
      expect(await lock.release()).toBe(false);
    });

    test('clear leaves what other features keep in the namespace', async () => {
      await manager.command('SET', `${backend.namespace}:~feature:x`, '1');
      await kv.set('a', 1);
      expect(await kv.clear()).toBe(1);
      expect(await manager.command('EXISTS', `${backend.namespace}:~feature:x`)).toBe(1);
    });

    test('clear without any namespace is refused', async () => {
      const bare = new KVStore(backend.manager({ namespace: '' }));
      await refuses(bare.clear(), 'config', /^KVStore\.clear: namespace: /);
    });

    test('a bad pattern and an unknown option are refused', async () => {
      await refuses(all(kv, 5 as never), 'config', /^KVStore\.scan: match: /);
      const scan = kv.scan({ mach: 'a' } as never)[Symbol.asyncIterator]();
      await refuses(scan.next(), 'config', /^KVStore\.scan\.mach: .*unknown option/);
    });
  });

  describe('namespaces', () => {
    test('the key is the manager’s namespace, the store’s and the user’s', async () => {
      await new KVStore(manager, { namespace: 'inner' }).set('k', 1);
      expect(await getRaw('inner:k')).toBe('1');
      await makeRedisKV(manager).set('k', 2);
      expect(await getRaw('k')).toBe('2');
    });

    test('a bad namespace and an unknown option are refused', () => {
      for (const namespace of ['~mine', 'a\nb', 'x'.repeat(513), 5 as never]) {
        expect(() => new KVStore(manager, { namespace })).toThrowError(/^KVStore\.namespace: /);
      }
      expect(() => new KVStore(manager, { prefix: 'a' } as never)).toThrowError(/^KVStore\.prefix: .*unknown option/);
      expect(() => new KVStore({} as never)).toThrowError(/^KVStore: manager: expected a RedisConnectionManager/);
    });
  });

  describe('the cache', () => {
    test('hits and misses are counted', async () => {
      const before = manager.metrics();
      expect(await kv.cacheGet('c')).toBeNull();
      await kv.cacheSet('c', { a: 1 }, 100);
      expect(await kv.cacheGet('c')).toEqual({ a: 1 });
      expect(await kv.cacheGet('c')).toEqual({ a: 1 });
      const after = manager.metrics();
      expect(after.redis_cache_hit_total - before.redis_cache_hit_total).toBe(2);
      expect(after.redis_cache_miss_total - before.redis_cache_miss_total).toBe(1);
      expect(await kv.ttl('c')).toBeGreaterThan(99);
    });
  });

  describe('values that others stored', () => {
    test('JSON of another program is read as JSON', async () => {
      await putRaw('k', ' { "a" : [ 1 , 2.50 ] } ');
      expect(await kv.get('k')).toEqual({ a: [1, 2.5] });
    });

    test('text that is not JSON comes back as the string', async () => {
      for (const text of ['plain', '', '{broken', 'NaN', "{'a':1}"]) {
        await putRaw('k', text);
        expect(await kv.get('k')).toBe(text);
        expect(await kv.mget(['k'])).toEqual([text]);
      }
    });

    test('bytes that are not UTF-8 are refused, with the way to read them', async () => {
      await putRaw('k', Buffer.from([0x22, 0xff, 0x22]));
      await refuses(kv.get('k'), 'serialization', /getBuffer/);
      await refuses(kv.mget(['k']), 'serialization', /getBuffer/);
      expect(await kv.getBuffer('k')).toEqual(Buffer.from([0x22, 0xff, 0x22]));
    });

    test('what is stored is what JSON.stringify writes', async () => {
      const value = { z: 1, a: ['é', null, { b: false }] };
      await kv.set('k', value);
      expect(await getRaw('k')).toBe(JSON.stringify(value));
    });

    test('a key of another type is an error of the server', async () => {
      await manager.command('RPUSH', `${backend.namespace}:l`, 'x');
      const calls = [
        () => kv.get('l'),
        () => kv.getBuffer('l'),
        () => kv.cas('l', 1, 2),
        () => kv.update('l', () => 1),
        () => kv.incr('l'),
        () => kv.getDel('l'),
      ];
      for (const call of calls) {
        expect((await refuses(call(), 'server')).serverCode).toBe('WRONGTYPE');
      }
      await kv.set('s', 1);
      expect((await refuses(kv.getRecent('s', 1), 'server')).serverCode).toBe('WRONGTYPE');
      expect((await refuses(kv.lpushRecent('s', 1, 1), 'server')).serverCode).toBe('WRONGTYPE');
    });
  });

  describe('hostile input', () => {
    const hostile = [
      'a\r\nb',
      '*3\r\n$3\r\nSET\r\n',
      '\0',
      '{}',
      '{',
      '}{',
      '{a}',
      '*',
      '?[a-z]\\',
      ' ',
      '😀',
      'ключ',
      '__proto__',
      'constructor',
      ':',
      '$',
      'x'.repeat(1 << 20),
    ];

    test('any key is itself and no other', async () => {
      for (const [i, key] of hostile.entries()) await kv.set(key, i);
      for (const [i, key] of hostile.entries()) expect(await kv.get(key)).toBe(i);
      expect(await kv.mget(hostile)).toEqual(hostile.map((_, i) => i));
      for (const key of hostile) {
        expect(await kv.cas<unknown>(key, hostile.indexOf(key), { key: 1 })).toBe(true);
        expect(await kv.update(key, () => 'x')).toBe('x');
        expect(await kv.incr(`${key.slice(0, 1_000)}:n`, 1, 100)).toBe(1);
        const lock = await kv.lock(key);
        expect(await lock.release()).toBe(true);
        expect(await kv.getOrSet(`${key.slice(0, 1_000)}:c`, () => 'loaded', { ttlSec: 100 })).toBe('loaded');
      }
      const listed: string[] = [];
      for await (const key of kv.scan()) listed.push(key);
      expect(hostile.every((key) => listed.includes(key))).toBe(true);
      expect(await kv.del(...hostile)).toBe(hostile.length);
    });

    test('a key that is none is refused by every method', async () => {
      const bad: [unknown, RegExp][] = [
        ['', /got a string of 0 characters/],
        ['x'.repeat((1 << 20) + 1), /got a string of 1048577 characters/],
        ['~lock:a', /no ~ at its begin/],
        ['a:~b', /or after a colon/],
        ['\ud800', /lone surrogate/],
        [undefined, /got nothing/],
        [null, /got null/],
        [5, /got 5/],
        [{}, /got an object/],
        [Symbol('s'), /got a symbol/],
      ];
      for (const [given, got] of bad) {
        const key = given as string;
        const calls: [string, () => Promise<unknown>][] = [
          ['get', () => kv.get(key)],
          ['set', () => kv.set(key, 1)],
          ['setIfAbsent', () => kv.setIfAbsent(key, 1)],
          ['getBuffer', () => kv.getBuffer(key)],
          ['setBuffer', () => kv.setBuffer(key, Buffer.from('a'))],
          ['del', () => kv.del('a', key)],
          ['has', () => kv.has(key)],
          ['mget', () => kv.mget(['a', key])],
          ['incr', () => kv.incr(key)],
          ['decr', () => kv.decr(key)],
          ['cas', () => kv.cas(key, 1, 2)],
          ['update', () => kv.update(key, () => 1)],
          ['getDel', () => kv.getDel(key)],
          ['getSet', () => kv.getSet(key, 1)],
          ['ttl', () => kv.ttl(key)],
          ['expire', () => kv.expire(key, 1)],
          ['persist', () => kv.persist(key)],
          ['lpushRecent', () => kv.lpushRecent(key, 1, 1)],
          ['getRecent', () => kv.getRecent(key, 1)],
          ['cacheGet', () => kv.cacheGet(key)],
          ['cacheSet', () => kv.cacheSet(key, 1)],
          ['getOrSet', () => kv.getOrSet(key, () => 1, { ttlSec: 1 })],
          ['lock', () => kv.lock(key)],
        ];
        for (const [name, call] of calls) {
          const error = await refuses(call(), 'config', new RegExp(`^KVStore\\.${name}: key: `));
          expect(error.message, name).toMatch(got);
          expect(error.delivery).toBe('not-sent');
        }
      }
    });

    test('a value that JSON cannot express is refused before anything is sent', async () => {
      const cycle: Record<string, unknown> = {};
      cycle.self = cycle;
      let deep: unknown = 1;
      for (let i = 0; i < 100_000; i++) deep = [deep];
      const bad = [
        undefined,
        () => 1,
        Symbol('s'),
        10n,
        { nested: 10n },
        cycle,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        Number.NEGATIVE_INFINITY,
        deep,
        { toJSON: () => undefined },
      ];
      for (const value of bad) {
        const calls = [
          () => kv.set('k', value),
          () => kv.setIfAbsent('k', value),
          () => kv.getSet('k', value),
          () => kv.cas('k', null, value),
          () => kv.cas('k', value === undefined ? undefined : value, 1),
          () => kv.mset({ k: value }),
          () => kv.lpushRecent('k', value, 1),
          () => kv.cacheSet('k', value),
          () => kv.update('k', () => value),
          () => kv.getOrSet('k', () => value, { ttlSec: 1 }),
        ];
        for (const call of calls) {
          const error = await refuses(
            call(),
            'serialization',
            /^KVStore\.\w+: (value|expected|next): expected a value that JSON can express/,
          );
          expect(error.delivery).toBe('not-sent');
        }
      }
      expect(await kv.has('k')).toBe(false);
    });

    test('__proto__ in a payload is a name like any other', async () => {
      await putRaw('k', '{"__proto__":{"polluted":true},"constructor":1}');
      const value = await kv.get<Record<string, unknown>>('k');
      expect(Object.hasOwn(value as object, '__proto__')).toBe(true);
      expect(({} as Record<string, unknown>).polluted).toBeUndefined();
      await kv.set('k', value);
      expect(await getRaw('k')).toBe('{"__proto__":{"polluted":true},"constructor":1}');
    });

    test('lone surrogates in a value come back', async () => {
      const value = { text: 'a\ud800b' };
      await kv.set('k', value);
      expect(await kv.get('k')).toEqual(value);
    });

    test('a value of 8 MB and one that is nested deep come back', async () => {
      const large = 'ü'.repeat(4 << 20);
      await kv.set('k', large);
      expect((await kv.get<string>('k')) === large).toBe(true);
      await putRaw('k', '['.repeat(2_000) + ']'.repeat(2_000));
      expect(Array.isArray(await kv.get('k'))).toBe(true);
    });

    test('bytes that are no Uint8Array are refused', async () => {
      for (const value of ['text', 5, null, undefined, [1]]) {
        await refuses(kv.setBuffer('k', value as never), 'config', /^KVStore\.setBuffer: value: expected a Uint8Array/);
      }
    });

    test('lists of keys and entries that are none are refused', async () => {
      await refuses(kv.mget('abc' as never), 'config', /^KVStore\.mget: keys: /);
      await refuses(kv.mset('abc' as never), 'config', /^KVStore\.mset: entries: /);
      await refuses(kv.mset(null as never), 'config', /^KVStore\.mset: entries: /);
      await refuses(kv.mset([['a']] as never), 'config', /^KVStore\.mset: entry: /);
    });
  });

  test('after disconnect every call is refused with kind closed', async () => {
    await kv.set('k', 1);
    await manager.disconnect();
    await refuses(kv.get('k'), 'closed');
    await refuses(
      kv.update('k', () => 1),
      'closed',
    );
    await refuses(
      kv.getOrSet('k', () => 1, { ttlSec: 1 }),
      'closed',
    );
    await refuses(kv.lock('k'), 'closed');
  });
});
