/** Locks: who holds one, how it is kept, and how its loss is learnt. */
import { KVStore, type RedisConnectionManager, type RedisError } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { startProcess } from '../support/process.ts';
import { stretched } from '../support/starvation.ts';
import { until, within } from '../support/until.ts';

/** Resolves with the reason when the signal is aborted. */
function aborted(signal: AbortSignal, ms = 10_000): Promise<RedisError> {
  return within(
    ms,
    new Promise<RedisError>((resolve) => {
      if (signal.aborted) resolve(signal.reason);
      signal.addEventListener('abort', () => resolve(signal.reason));
    }),
    'the signal of a lost lock',
  );
}

describeBackends('lock', (backend) => {
  let manager: RedisConnectionManager;
  let kv: KVStore;

  beforeEach(() => {
    manager = backend.manager();
    kv = new KVStore(manager);
  });

  /** How many locks there are of whose release somebody is to be told. */
  async function locksAwaited(prefix: string): Promise<number> {
    const [, keys] = (await manager.command('SCAN', '0', 'MATCH', `${prefix}*:*`, 'COUNT', 1_000)) as [string, string[]];
    const awaited = await Promise.all(keys.map((key) => manager.command('HGET', key, 'awaited').catch(() => null)));
    return awaited.filter((flag) => flag === '1').length;
  }

  test('one holds it, the next gets it after the release, with a larger token', async () => {
    const first = await kv.lock('k');
    expect(first.key).toBe('k');
    expect(Number.isSafeInteger(first.token)).toBe(true);
    expect(first.signal.aborted).toBe(false);
    const refused = await failureOf(kv.lock('k'));
    expect(refused).toMatchObject({ redisErrorKind: 'timeout', delivery: 'rejected', retryable: true });
    expect(refused.message).toMatch(/^KVStore\.lock: .*waitMs, 0 ms/);
    expect(await first.release()).toBe(true);
    expect(await first.release()).toBe(false);
    expect(first.signal.aborted).toBe(false);
    const second = await kv.lock('k');
    expect(second.token).toBeGreaterThan(first.token);
    await second.release();
  });

  test('locks of different keys and namespaces, and a value of the same key, have nothing to do with each other', async () => {
    await kv.set('k', 'value');
    const locks = [await kv.lock('k'), await kv.lock('l'), await new KVStore(manager, { namespace: 'inner' }).lock('k')];
    expect(await kv.get('k')).toBe('value');
    for (const lock of locks) expect(await lock.release()).toBe(true);
  });

  test('await using gives it back', async () => {
    {
      await using lock = await kv.lock('k');
      expect(lock.token).toBeGreaterThan(0);
    }
    await (await kv.lock('k')).release();
  });

  test('who waits gets it when it is released', async () => {
    const first = await kv.lock('k');
    const waiting = kv.lock('k', { waitMs: 10_000 });
    await failureOf(kv.lock('k', { waitMs: 30 }));
    await first.release();
    const second = await waiting;
    expect(second.token).toBeGreaterThan(first.token);
    await second.release();
  });

  test('who waits in another process is told at once of a release', async () => {
    const first = await kv.lock('k');
    const waiting = new KVStore(backend.manager()).lock('k', { waitMs: 20_000 });
    // It is in the line, and the server knows that somebody waits.
    const key = `${backend.namespace}:~lock:`;
    await until(async () => (await locksAwaited(key)) > 0, { what: 'the lock to be awaited' });
    await new Promise((resolve) => setTimeout(resolve, 500));
    const begin = performance.now();
    await first.release();
    const second = await waiting;
    // By itself it looks every 4 s at the earliest.
    expect(performance.now() - begin).toBeLessThan(2_500);
    await second.release();
  });

  test('who waits has it when the lease of one that is gone without a word ends', async () => {
    const other = backend.manager();
    await new KVStore(other).lock('k', { leaseMs: 1_500 });
    await other.disconnect();
    const begin = performance.now();
    await (await kv.lock('k', { waitMs: 20_000 })).release();
    expect(performance.now() - begin).toBeLessThan(3_500);
  });

  test('who stands behind others gives up when its own time is over', async () => {
    const first = await kv.lock('k');
    const waiting = Array.from({ length: 5 }, () => kv.lock('k', { waitMs: 20_000 }));
    const begin = performance.now();
    const refused = await failureOf(kv.lock('k', { waitMs: 200 }));
    expect(refused).toMatchObject({ redisErrorKind: 'timeout', delivery: 'rejected' });
    expect(refused.message).toMatch(/waitMs, 200 ms/);
    expect(performance.now() - begin).toBeGreaterThanOrEqual(199);
    await first.release();
    for (const one of waiting) await (await one).release();
  });

  test('they have it in the order in which they came', async () => {
    const first = await kv.lock('k');
    const order: number[] = [];
    const waiting = Array.from({ length: 20 }, async (_, at) => {
      await using _lock = await kv.lock('k', { waitMs: 20_000 });
      order.push(at);
    });
    await first.release();
    await Promise.all(waiting);
    expect(order).toEqual(Array.from({ length: 20 }, (_, at) => at));
  });

  test('a thousand who wait cost the server nothing while they wait, and a few commands each in all', async () => {
    const first = await kv.lock('k');
    const commands = async () => Number(/total_commands_processed:(\d+)/.exec(String(await manager.command('INFO', 'stats')))?.[1]);
    const waiting = Array.from({ length: 1_000 }, async () => (await kv.lock('k', { waitMs: 60_000 })).release());
    await until(async () => (await locksAwaited(`${backend.namespace}:~lock:`)) > 0, { what: 'the lock to be awaited' });
    const before = await commands();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect((await commands()) - before).toBeLessThan(50);
    await first.release();
    await within(30_000, Promise.all(waiting), 'all to have had the lock');
    // What a script calls counts too: to be told that it is held, to take it, to release it.
    expect((await commands()) - before).toBeLessThan(25_000);
  });

  test('of many who want it at once each has it alone, with a larger token than the one before', async () => {
    let inside = 0;
    const tokens: number[] = [];
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        await using lock = await kv.lock('k', { waitMs: 15_000 });
        inside += 1;
        expect(inside).toBe(1);
        tokens.push(lock.token);
        await kv.get('something');
        inside -= 1;
      }),
    );
    expect(tokens).toHaveLength(30);
    expect(tokens.every((token, i) => i === 0 || token > (tokens[i - 1] as number))).toBe(true);
  });

  test('it is renewed for as long as it is held', async () => {
    const lock = await kv.lock('k', { leaseMs: 200 });
    expect((await failureOf(kv.lock('k', { waitMs: 1_000 }))).redisErrorKind).toBe('timeout');
    expect(lock.signal.aborted).toBe(false);
    expect(await lock.release()).toBe(true);
  });

  test('the wait is ended by its signal, and a lock that came too late is given back', async () => {
    const held = await kv.lock('k');
    const controller = new AbortController();
    const waiting = failureOf(kv.lock('k', { waitMs: 60_000, signal: controller.signal }));
    await kv.get('something');
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await waiting).toMatchObject({ redisErrorKind: 'cancelled', cause: reason });
    await held.release();
    expect(await failureOf(kv.lock('k', { signal: controller.signal }))).toMatchObject({ redisErrorKind: 'cancelled' });
    const late = new AbortController();
    const free = kv.lock('k', { signal: late.signal });
    late.abort();
    await failureOf(free);
    await (await kv.lock('k', { waitMs: 5_000 })).release();
  });

  test('extend renews it, and sets how long from now on', async () => {
    const lock = await kv.lock('k', { leaseMs: 500 });
    expect(await lock.extend(60_000)).toBeUndefined();
    const [key = ''] = await manager.command<string[]>('KEYS', `${backend.namespace}:~lock:*:k`);
    expect(await manager.command<number>('PTTL', key)).toBeGreaterThan(50_000);
    await lock.extend();
    await lock.release();
    expect(await failureOf(lock.extend())).toMatchObject({ redisErrorKind: 'lease-lost' });
  });

  test('one whose hash was taken by another learns it, and changes nothing any more', async () => {
    const lock = await kv.lock('k', { leaseMs: 300 });
    const [key = ''] = await manager.command<string[]>('KEYS', `${backend.namespace}:~lock:*:k`);
    await manager.command('DEL', key);
    const other = await kv.lock('k');
    expect(other.token).toBeGreaterThan(lock.token);
    expect(await aborted(lock.signal)).toMatchObject({ redisErrorKind: 'lease-lost' });
    expect(await lock.release()).toBe(false);
    expect(await failureOf(lock.extend())).toMatchObject({ redisErrorKind: 'lease-lost' });
    expect(other.signal.aborted).toBe(false);
    expect(await other.release()).toBe(true);
  });

  test('disconnect aborts the signal', async () => {
    const other = backend.manager();
    const lock = await new KVStore(other).lock('k', { leaseMs: 500 });
    await other.disconnect();
    expect(await aborted(lock.signal, 1_000)).toMatchObject({ redisErrorKind: 'lease-lost' });
    await (await kv.lock('k', { waitMs: 5_000 })).release();
  });

  test('bad options are refused by name', async () => {
    for (const leaseMs of [0, 99, -5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '100' as never, null as never]) {
      expect((await failureOf(kv.lock('k', { leaseMs }))).message).toMatch(
        /^KVStore\.lock\.leaseMs: expected a number of milliseconds from 100/,
      );
    }
    for (const waitMs of [-1, Number.NaN, 2 ** 31, '1' as never]) {
      expect((await failureOf(kv.lock('k', { waitMs }))).message).toMatch(
        /^KVStore\.lock\.waitMs: expected a number of milliseconds from 0/,
      );
    }
    expect((await failureOf(kv.lock('k', { signal: {} as never }))).message).toMatch(/^KVStore\.lock: signal: expected an AbortSignal/);
    expect((await failureOf(kv.lock('k', { lease: 5 } as never))).message).toMatch(/^KVStore\.lock\.lease: .*unknown option/);
    const lock = await kv.lock('k');
    expect((await failureOf(lock.extend(5))).message).toMatch(/^Lock\.extend: leaseMs: /);
    expect(await lock.release()).toBe(true);
  });

  test('who extends beyond the lease of another waiter keeps it', async () => {
    const lock = await kv.lock('k', { leaseMs: 300 });
    await lock.extend(30_000);
    expect((await failureOf(kv.lock('k', { waitMs: 700 }))).redisErrorKind).toBe('timeout');
    expect(await lock.release()).toBe(true);
  });
});

describeBackends(
  'lock, between processes and through faults',
  (backend) => {
    const server = () => backend.server as NonNullable<typeof backend.server>;

    test('the token grows over FLUSHALL and over the loss of its hash', async () => {
      const manager = backend.manager();
      const kv = new KVStore(manager);
      let last = 0;
      for (let i = 0; i < 20; i++) {
        const lock = await kv.lock('k');
        expect(lock.token).toBeGreaterThan(last);
        last = lock.token;
        await manager.command('FLUSHALL');
      }
    });

    test('locks of any number of keys leave next to nothing, and nothing after a day', async () => {
      const manager = backend.manager();
      const kv = new KVStore(manager);
      const take = async (key: string) => {
        const lock = await kv.lock(key);
        await lock.release();
        return lock.token;
      };
      await Promise.all(Array.from({ length: 500 }, (_, i) => take(`order:${i}`)));
      const left = await manager.command<string[]>('KEYS', `${backend.namespace}:*`);
      expect(left.length).toBeLessThanOrEqual(8);
      for (const key of left) {
        const ms = await manager.command<number>('PTTL', key);
        expect(ms).toBeGreaterThan(86_000_000);
        expect(ms).toBeLessThanOrEqual(86_400_000);
      }
    });

    test("the token grows though the server's clock goes back", async () => {
      const manager = backend.manager();
      const kv = new KVStore(manager);
      const first = await kv.lock('k');
      await first.release();
      // What a clock that was an hour ahead left behind.
      const ahead = first.token + 3_600_000_000;
      for (const key of await manager.command<string[]>('KEYS', `${backend.namespace}:~lock:*`)) await manager.command('SET', key, ahead);
      const second = await kv.lock('k');
      expect(second.token).toBe(ahead + 1);
      await second.release();
      expect((await kv.lock('k')).token).toBe(ahead + 2);
    });

    test('who waits for a lock of a server that is frozen waits for waitMs', async () => {
      const manager = backend.manager();
      const kv = new KVStore(manager);
      await (await kv.lock('k')).release();
      await server().freeze();
      try {
        const started = performance.now();
        const error = await failureOf(kv.lock('k', { waitMs: 300 }));
        expect(error).toMatchObject({ redisErrorKind: 'timeout', delivery: 'maybe-executed' });
        // Less than commandTimeoutMs, which is 5 s.
        expect(performance.now() - started).toBeLessThan(stretched(4_000));
      } finally {
        server().thaw();
      }
      // What was on its way is taken back.
      await (await kv.lock('k', { waitMs: 10_000 })).release();
    });

    test('a process that is stopped for longer than its lease learns it through the signal', async () => {
      const child = startProcess(
        async ({ redis, args, emit }) => {
          const manager = new redis.RedisConnectionManager(args);
          const lock = await new redis.KVStore(manager).lock('k', { leaseMs: 500 });
          emit({ token: lock.token });
          const hold = setInterval(() => {}, 1_000);
          lock.signal.addEventListener('abort', async () => {
            emit({ lost: lock.signal.reason.redisErrorKind, released: await lock.release() });
            clearInterval(hold);
            await manager.disconnect();
          });
        },
        { args: { url: backend.url, namespace: backend.namespace } },
      );
      const { token } = await child.line<{ token: number }>();
      await child.freeze();
      const lock = await new KVStore(backend.manager()).lock('k', { waitMs: 10_000 });
      expect(lock.token).toBeGreaterThan(token);
      child.thaw();
      expect((await child.ended).lines).toEqual([{ token }, { lost: 'lease-lost', released: false }]);
      expect(lock.signal.aborted).toBe(false);
      expect(await lock.release()).toBe(true);
    });

    test('a blocked event loop does not lose it', async () => {
      const child = startProcess(
        async ({ redis, args, emit }) => {
          const manager = new redis.RedisConnectionManager(args);
          const lock = await new redis.KVStore(manager).lock('k', { leaseMs: 300 });
          emit('held');
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500);
          await new Promise((resolve) => setImmediate(resolve));
          emit({ lost: lock.signal.aborted, released: await lock.release() });
          await manager.disconnect();
        },
        { args: { url: backend.url, namespace: backend.namespace } },
      );
      await child.line((line) => line === 'held');
      const kv = new KVStore(backend.manager());
      expect((await failureOf(kv.lock('k', { waitMs: 1_000 }))).redisErrorKind).toBe('timeout');
      expect((await child.ended).lines).toEqual(['held', { lost: false, released: true }]);
    });

    test('a process that dies is succeeded after its lease', async () => {
      const child = startProcess(
        async ({ redis, args, emit }) => {
          await new redis.KVStore(new redis.RedisConnectionManager(args)).lock('k', { leaseMs: 500 });
          emit('held');
          setInterval(() => {}, 1_000);
        },
        { args: { url: backend.url, namespace: backend.namespace } },
      );
      await child.line();
      await child.kill9();
      await (await new KVStore(backend.manager()).lock('k', { waitMs: 5_000 })).release();
    });

    test('holding one does not keep the process alive', async () => {
      const child = startProcess(
        async ({ redis, args, emit }) => {
          await new redis.KVStore(new redis.RedisConnectionManager(args)).lock('k', { leaseMs: 60_000 });
          emit('held');
        },
        { args: { url: backend.url, namespace: backend.namespace }, timeoutMs: 10_000 },
      );
      expect((await child.ended).code).toBe(0);
    });

    test('a server that stands still for longer than the lease loses it, and no call hangs', async () => {
      const manager = backend.manager({ commandTimeoutMs: 1_000 });
      const kv = new KVStore(manager);
      const lock = await kv.lock('k', { leaseMs: 600 });
      await server().freeze();
      try {
        expect(await aborted(lock.signal)).toMatchObject({ redisErrorKind: 'lease-lost' });
        expect((await failureOf(kv.lock('l'))).redisErrorKind).toBe('timeout');
      } finally {
        server().thaw();
      }
      expect(await lock.release()).toBe(false);
      await (await kv.lock('k', { waitMs: 5_000 })).release();
      // The attempt that timed out may have been executed: it was taken back.
      await (await kv.lock('l', { waitMs: 5_000 })).release();
    });

    test('a cut connection within the lease loses nothing', async () => {
      const manager = backend.manager();
      const kv = new KVStore(manager);
      const lock = await kv.lock('k', { leaseMs: 2_000 });
      for (let i = 0; i < 3; i++) {
        await server().cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        await until(() => kv.has('x').then(() => true), { what: 'the connection to be back' });
        await lock.extend();
      }
      expect(lock.signal.aborted).toBe(false);
      expect(await lock.release()).toBe(true);
    });
  },
  ['redis-server'],
);
