/** What every method of the KV store does, on every backend. */
import { KVStore, makeRedisKV, type RedisConnectionManager } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { refusalOf } from '../support/failure.ts';
import { rawValues } from '../support/raw-values.ts';
import { until } from '../support/until.ts';

describeBackends('KV store', (backend) => {
  let manager: RedisConnectionManager;
  let kv: KVStore;

  beforeEach(() => {
    manager = backend.manager();
    kv = new KVStore(manager);
  });

  const { putRaw, getRaw } = rawValues(backend, () => manager);

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
      await refusalOf(kv.mset({ a: 1, b: undefined }), 'serialization', /^KVStore\.mset: value: .* got undefined/);
      await refusalOf(kv.mset({ a: 1, '': 2 }), 'config', /^KVStore\.mset: key: /);
      await refusalOf(kv.mset({ a: 1 }, 0), 'config', /^KVStore\.mset: ttlSec: /);
      await refusalOf(kv.mset({}, -1), 'config', /^KVStore\.mset: ttlSec: /);
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
      await refusalOf(kv.incr('n'), 'serialization', /2\^53/);
      await refusalOf(kv.incr('n', 1, 10), 'serialization', /2\^53/);
    });

    test('what is no whole number is refused by the server, and left', async () => {
      await kv.set('n', 'text', 100);
      const error = await refusalOf(kv.incr('n'), 'server');
      expect(error.delivery).toBe('rejected');
      await refusalOf(kv.incr('n', 1, 10), 'server');
      expect(await kv.get('n')).toBe('text');
    });

    test('a step that is no whole number is refused', async () => {
      for (const by of [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1' as never, null as never]) {
        await refusalOf(kv.incr('n', by), 'config', /^KVStore\.incr: by: expected a whole number/);
        await refusalOf(kv.decr('n', by), 'config', /^KVStore\.decr: by: expected a whole number/);
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
        await refusalOf(kv.set('k', 1, ttl), 'config', /^KVStore\.set: ttlSec: expected a number of seconds/);
        await refusalOf(kv.setIfAbsent('k', 1, ttl), 'config', /^KVStore\.setIfAbsent: ttlSec: /);
        await refusalOf(kv.setBuffer('k', Buffer.from('a'), ttl), 'config', /^KVStore\.setBuffer: ttlSec: /);
        await refusalOf(kv.getSet('k', 1, ttl), 'config', /^KVStore\.getSet: ttlSec: /);
        await refusalOf(kv.incr('k', 1, ttl), 'config', /^KVStore\.incr: ttlSec: /);
        await refusalOf(kv.cas('k', null, 1, ttl), 'config', /^KVStore\.cas: ttlSec: /);
        await refusalOf(kv.cacheSet('k', 1, ttl), 'config', /^KVStore\.cacheSet: ttlSec: /);
        await refusalOf(kv.lpushRecent('k', 1, 1, ttl), 'config', /^KVStore\.lpushRecent: ttlSec: /);
        await refusalOf(kv.expire('k', ttl), 'config', /^KVStore\.expire: ttlSec: /);
        await refusalOf(
          kv.update('k', () => 1, { ttlSec: ttl }),
          'config',
          /^KVStore\.update: ttlSec: /,
        );
        await refusalOf(
          kv.getOrSet('k', () => 1, { ttlSec: ttl }),
          'config',
          /^KVStore\.getOrSet: ttlSec: /,
        );
      }
      await refusalOf(kv.expire('k', undefined as never), 'config', /^KVStore\.expire: ttlSec: .* got nothing/);
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
        await refusalOf(kv.lpushRecent('l', 1, limit), 'config', /^KVStore\.lpushRecent: limit: expected a whole number from 1/);
        await refusalOf(kv.getRecent('l', limit), 'config', /^KVStore\.getRecent: limit: expected a whole number from 1/);
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
      await refusalOf(bare.clear(), 'config', /^KVStore\.clear: namespace: /);
    });

    test('a bad pattern and an unknown option are refused', async () => {
      await refusalOf(all(kv, 5 as never), 'config', /^KVStore\.scan: match: /);
      const scan = kv.scan({ mach: 'a' } as never)[Symbol.asyncIterator]();
      await refusalOf(scan.next(), 'config', /^KVStore\.scan\.mach: .*unknown option/);
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
      await refusalOf(kv.get('k'), 'serialization', /getBuffer/);
      await refusalOf(kv.mget(['k']), 'serialization', /getBuffer/);
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
        expect((await refusalOf(call(), 'server')).serverCode).toBe('WRONGTYPE');
      }
      await kv.set('s', 1);
      expect((await refusalOf(kv.getRecent('s', 1), 'server')).serverCode).toBe('WRONGTYPE');
      expect((await refusalOf(kv.lpushRecent('s', 1, 1), 'server')).serverCode).toBe('WRONGTYPE');
    });
  });

  test('after disconnect every call is refused with kind closed', async () => {
    await kv.set('k', 1);
    await manager.disconnect();
    await refusalOf(kv.get('k'), 'closed');
    await refusalOf(
      kv.update('k', () => 1),
      'closed',
    );
    await refusalOf(
      kv.getOrSet('k', () => 1, { ttlSec: 1 }),
      'closed',
    );
    await refusalOf(kv.lock('k'), 'closed');
  });
});
