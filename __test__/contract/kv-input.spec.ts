/** Keys, values and bytes that somebody might give the KV store with ill will or by mistake. */
import { KVStore, type RedisConnectionManager } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { refusalOf } from '../support/failure.ts';
import { rawValues } from '../support/raw-values.ts';

describeBackends('input of the KV store', (backend) => {
  let manager: RedisConnectionManager;
  let kv: KVStore;

  beforeEach(() => {
    manager = backend.manager();
    kv = new KVStore(manager);
  });

  const { putRaw, getRaw } = rawValues(backend, () => manager);

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
      ['~lock:a', /no ~ at its start/],
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
        const error = await refusalOf(call(), 'config', new RegExp(`^KVStore\\.${name}: key: `));
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
        const error = await refusalOf(
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
      await refusalOf(kv.setBuffer('k', value as never), 'config', /^KVStore\.setBuffer: value: expected a Uint8Array/);
    }
  });

  test('lists of keys and entries that are none are refused', async () => {
    await refusalOf(kv.mget('abc' as never), 'config', /^KVStore\.mget: keys: /);
    await refusalOf(kv.mset('abc' as never), 'config', /^KVStore\.mset: entries: /);
    await refusalOf(kv.mset(null as never), 'config', /^KVStore\.mset: entries: /);
    await refusalOf(kv.mset([['a']] as never), 'config', /^KVStore\.mset: entry: /);
  });
});
