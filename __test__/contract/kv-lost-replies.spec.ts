/** What happens when the server acts and its answer is lost: nothing is done twice, and nothing stays held by nobody. */
import { randomUUID } from 'node:crypto';
import { KVStore, type MemoryControl, memoryControl, once, RedisConnectionManager, type RedisError } from 'redis-backplane';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { until } from '../support/until.ts';

let manager: RedisConnectionManager;
let kv: KVStore;
let control: MemoryControl;

beforeEach(async () => {
  const name = randomUUID();
  manager = new RedisConnectionManager({ url: `memory://${name}`, reconnect: { minDelayMs: 1, maxDelayMs: 10 } });
  kv = new KVStore(manager, { namespace: 'lost' });
  await manager.connect();
  control = memoryControl(name);
});
afterEach(() => manager.disconnect());

test('what only reads is asked again, and its caller notices nothing', async () => {
  await kv.mset({ a: 1, b: 2 });
  await kv.lpushRecent('l', 'x', 5);
  const reads: [string, () => Promise<unknown>, unknown][] = [
    ['get', () => kv.get('a'), 1],
    ['mget', () => kv.mget(['a', 'b']), [1, 2]],
    ['has', () => kv.has('a'), true],
    ['ttl', () => kv.ttl('a'), Number.POSITIVE_INFINITY],
    ['getRecent', () => kv.getRecent('l', 5), ['x']],
    ['cacheGet', () => kv.cacheGet('b'), 2],
    ['getOrSet', () => kv.getOrSet('a', () => 5, { ttlSec: 100 }), 1],
  ];
  for (const [name, read, value] of reads) {
    await manager.ping();
    control.dropReplies(1);
    expect(await read(), name).toEqual(value);
  }
});

test('what writes is done once, and says that it may have been', async () => {
  // The server knows the scripts: else it would be its not knowing that is lost.
  await Promise.all([kv.cas('w', null, 1), kv.incr('v', 1, 100), kv.lpushRecent('u', 1, 1)]);
  await kv.mset({ n: 0, cas: 'old', gone: 1 });
  const writes: [run: () => Promise<unknown>, replies?: number][] = [
    [() => kv.set('k', 1)],
    [() => kv.incr('n')],
    [() => kv.incr('n', 1, 100)],
    [() => kv.cas('cas', 'old', 'new')],
    [
      () =>
        kv.update<number>('n', (n) => {
          // Its read has been answered; what comes now is its write.
          control.dropReplies(1);
          return (n ?? 0) + 1;
        }),
      0,
    ],
    [() => kv.lpushRecent('l', 'x', 5)],
    [() => kv.getDel('gone'), 4],
    [() => kv.mset({ m: 1 }, 100), 3],
  ];
  for (const [write, replies = 1] of writes) {
    // Connected again: else it would be the answer to the handshake that is lost.
    await manager.ping();
    control.dropReplies(replies);
    const error = await failureOf(write());
    expect(error, String(write)).toMatchObject({ redisErrorKind: 'connection', delivery: 'maybe-executed' });
  }
  expect(await kv.mget(['k', 'cas', 'gone', 'm'])).toEqual([1, 'new', null, 1]);
  expect(await kv.get('n')).toBe(3);
  expect(await kv.getRecent('l', 5)).toEqual(['x']);
});

test('a lock whose answer was lost is asked for again, and is the same', async () => {
  const before = await kv.lock('k');
  await before.release();
  control.dropReplies(1);
  const lock = await kv.lock('k', { waitMs: 5_000 });
  const entry = control.dump().find(({ key }) => /~lock:.*:k$/.test(key));
  expect(lock.token).toBeGreaterThan(before.token);
  expect(await manager.command('HGET', entry?.key ?? '', 'token')).toBe(String(lock.token));
  expect(await lock.release()).toBe(true);
});

test('a lock whose answer was lost and that nobody waits for is free again', async () => {
  control.dropReplies(1);
  expect(await failureOf(kv.lock('k'))).toMatchObject({ delivery: 'maybe-executed' });
  const lock = await kv.lock('k', { waitMs: 1_000 });
  expect(await lock.release()).toBe(true);
});

test('a renewal whose answer was lost is made again', async () => {
  const lock = await kv.lock('k', { leaseMs: 1_500 });
  control.dropReplies(1);
  const key = control.dump().find((entry) => /~lock:.*:k$/.test(entry.key))?.key ?? '';
  const left = () => manager.command<number>('PTTL', key);
  let last = Number.POSITIVE_INFINITY;
  await until(
    async () => {
      const before = last;
      last = await left();
      return last > before;
    },
    { what: 'a renewal' },
  );
  expect(lock.signal.aborted).toBe(false);
  expect(await lock.release()).toBe(true);
});

test('a once whose answer was lost runs nothing, and its key is free again', async () => {
  let runs = 0;
  const fn = async () => {
    runs += 1;
    return 'ran';
  };
  control.dropReplies(1);
  expect(await failureOf(once(kv, 'k', fn, 100))).toMatchObject({ delivery: 'maybe-executed' });
  expect(runs).toBe(0);
  expect(await once(kv, 'k', fn, 100)).toBe('ran');
});

test('a loaded value that could not be stored is given, and that is told', async () => {
  const told: RedisError[] = [];
  manager.on('error', (error) => told.push(error));
  const value = await kv.getOrSet(
    'k',
    () => {
      control.readonly(true);
      return 'loaded';
    },
    { ttlSec: 100 },
  );
  control.readonly(false);
  expect(value).toBe('loaded');
  expect(told.length).toBeGreaterThan(0);
  expect(await kv.getOrSet('k', () => 'again', { ttlSec: 100 })).toBe('again');
});

test('a lease that may have been made shorter is believed to end with the shorter time', async () => {
  const lock = await kv.lock('l', { leaseMs: 60_000 });
  // The server knows the script: else it would be its not knowing that is lost.
  await lock.extend();
  // This answer and all that follow: nobody can make it longer again.
  control.dropReplies(1_000_000);
  await failureOf(lock.extend(200));
  await until(() => lock.signal.aborted, { what: 'the end of the shorter lease' });
  control.dropReplies(0);
});
