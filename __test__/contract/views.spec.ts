/** Objects that are not what they say: a call with one costs that call at most, and sends nobody's memory but its own. */
import { KVStore, type RedisConnectionManager } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { refusalOf } from '../support/failure.ts';

/** Says of itself whatever is worst. */
class Liar extends Uint8Array {
  override get byteLength(): number {
    return 4_096;
  }
  override get length(): number {
    return 1_000_000;
  }
  override get byteOffset(): number {
    return 0;
  }
}

describeBackends('what a user hands over', (backend) => {
  let manager: RedisConnectionManager;
  let kv: KVStore;

  beforeEach(() => {
    manager = backend.manager();
    kv = new KVStore(manager);
  });

  /** Calls of others, made in the same batch as `call`; their answers. */
  async function among(call: () => Promise<unknown>): Promise<[PromiseSettledResult<unknown>, unknown[]]> {
    const key = `${backend.namespace}:n`;
    const before = manager.command('INCR', key);
    const own = call();
    const after = [manager.command('INCR', key), kv.set('k', 'v'), kv.get('k')];
    const [outcome] = await Promise.allSettled([own]);
    return [outcome as PromiseSettledResult<unknown>, await Promise.all([before, ...after])];
  }

  const neighbours = [1, 2, undefined, 'v'];

  test('a view that lies about its length gives the bytes it has, and none of the memory around it', async () => {
    const pool = Buffer.from('somebody else: hunter2 own somebody else');
    const own = new Liar(pool.buffer, pool.byteOffset + 23, 3);
    expect(await among(() => kv.setBuffer('b', own))).toEqual([{ status: 'fulfilled', value: undefined }, neighbours]);
    expect(String(await kv.getBuffer('b'))).toBe('own');
    const shadowed = Buffer.from('abc');
    Object.defineProperties(shadowed, { byteLength: { value: 8_192 }, buffer: { get: () => new ArrayBuffer(1) } });
    await manager.command('SET', `${backend.namespace}:c`, shadowed);
    expect(await manager.command('GET', `${backend.namespace}:c`)).toBe('abc');
    // An empty one too.
    await kv.setBuffer('b', new Liar(0));
    expect(await kv.getBuffer('b')).toHaveLength(0);
  });

  test('a view whose memory is gone costs its own call', async () => {
    const detached = new Uint8Array([1, 2, 3]);
    structuredClone(detached, { transfer: [detached.buffer] });
    const detachedView = new DataView(new ArrayBuffer(4));
    structuredClone(detachedView.buffer, { transfer: [detachedView.buffer] });
    // Younger than the types of the oldest Node this runs on.
    const resizable: ArrayBuffer & { resize(size: number): void } = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 16 }]);
    const shrunk = new Uint8Array(resizable, 4, 4);
    resizable.resize(2);
    for (const view of [detached, detachedView, shrunk]) {
      const [outcome, others] = await among(() => kv.setBuffer('b', view as Uint8Array));
      const message = 'argument: expected bytes, got a view whose memory is gone';
      expect(outcome).toMatchObject({ status: 'rejected', reason: { redisErrorKind: 'config', message } });
      expect(others).toEqual([expect.any(Number), expect.any(Number), undefined, 'v']);
    }
  });

  test('a view of any kind, shared memory included, is the bytes it covers', async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(8), 2, 3).fill(7);
    const words = new Uint16Array([0x0102, 0x0304]);
    const view = new DataView(new Uint8Array([1, 2, 3, 4]).buffer, 1, 2);
    for (const [given, bytes] of [
      [shared, [7, 7, 7]],
      [words, [2, 1, 4, 3]],
      [view, [2, 3]],
    ] as const) {
      await kv.setBuffer('b', given as Uint8Array);
      expect([...((await kv.getBuffer('b')) ?? [])]).toEqual(bytes);
    }
  });

  test('a proxy of a view is no view', async () => {
    const proxy = new Proxy(new Uint8Array(3), {});
    const [outcome, others] = await among(() => kv.setBuffer('b', proxy));
    expect(outcome).toMatchObject({ status: 'rejected', reason: { redisErrorKind: 'config' } });
    expect(others).toEqual(neighbours);
  });

  test('an array that is another one at each look, or calls back while it is looked at, is read once', async () => {
    let looks = 0;
    const growing = new Proxy(['a', 'b'], {
      get(target, name, receiver) {
        // A call that is made while another one is packed.
        if (name === '1') void kv.incr('calls');
        if (name === 'length') return Math.min(2 + looks++, 4);
        return Reflect.get(target, name, receiver);
      },
    });
    const key = (name: string): string => `${backend.namespace}:${name}`;
    await kv.mset({ a: 1, b: 2 });
    const [outcome, others] = await among(() => kv.mget(growing));
    expect(others).toEqual(neighbours);
    // Refused, or read: whichever it is, it is an answer to this call.
    if (outcome.status === 'fulfilled') expect((outcome.value as unknown[]).slice(0, 2)).toEqual([1, 2]);
    else expect(outcome.reason).toMatchObject({ redisErrorKind: 'config' });
    expect(await kv.get('calls')).toBeGreaterThan(0);

    looks = 0;
    const command = new Proxy(['INCR', key('t')], {
      get: (target, name) => (name === 'length' ? Math.min(2 + looks++, 4) : Reflect.get(target, name)),
    });
    const [transaction, rest] = await among(() => manager.transaction([command as never, ['INCR', key('t')]]));
    expect(rest.slice(2)).toEqual([undefined, 'v']);
    expect(transaction.status === 'rejected' || Array.isArray(transaction.value)).toBe(true);

    const keys = new Proxy([key('t')], {
      get: (target, name) => (name === 'length' ? Math.min(1 + looks++, 4) : Reflect.get(target, name)),
    });
    const [, last] = await among(() => manager.script('return 1', keys));
    expect(last.slice(2)).toEqual([undefined, 'v']);
  });

  test('an object whose conversion to text has effects is refused without being converted', async () => {
    let converted = 0;
    const effect = {
      toString() {
        converted += 1;
        return 'x';
      },
      [Symbol.toPrimitive]() {
        converted += 1;
        return 'x';
      },
    };
    for (const call of [
      () => manager.command('SET', effect as never, 'v'),
      () => manager.command(effect as never, 'k'),
      () => kv.get(effect as never),
      () => kv.setBuffer('k', effect as never),
    ]) {
      await refusalOf(call(), 'config');
    }
    expect(converted).toBe(0);
  });
});
