/** Which checkpoints of a thread are kept, for how long, and how much they may be, on every backend. */
import { type CheckpointKeep, CheckpointStore, type RedisConnectionManager } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { refusalOf } from '../support/failure.ts';
import { until } from '../support/until.ts';

describeBackends('what is kept of checkpoints', (backend) => {
  let manager: RedisConnectionManager;
  let store: CheckpointStore;

  beforeEach(() => {
    manager = backend.manager();
    store = new CheckpointStore(manager);
  });

  const keys = async (): Promise<string[]> => (await manager.command<string[]>('KEYS', `${backend.namespace}:*`)).sort();
  const states = async (scope = '', of = store): Promise<unknown[]> => {
    const found: unknown[] = [];
    for await (const { id } of of.history('t', { scope })) found.push((await of.get('t', id, { scope }))?.state);
    return found;
  };
  const saved = async (count: number, of = store, scope = ''): Promise<string[]> => {
    const infos = await Promise.all(Array.from({ length: count }, (_, n) => of.save('t', n, { scope })));
    return infos.map(({ id }) => id);
  };
  /** Waits until the server's clock has passed what a checkpoint says. */
  const later = async (ms: number): Promise<void> => {
    const at = (await store.latest('t'))?.at ?? 0;
    const passed = async () => {
      const [seconds, micros] = await manager.command<[string, string]>('TIME');
      return Number(seconds) * 1_000 + Number(micros) / 1_000 > at + ms;
    };
    await until(passed, { what: `${ms} ms to pass` });
  };

  describe('prune', () => {
    test('takes the oldest away, but the latest of a scope and pinned ones stay', async () => {
      const ids = await saved(10);
      await store.save('t', 'other', { scope: 's' });
      expect(await store.pin('t', ids[1] as string)).toBe(true);
      expect(await store.prune('t', { last: 5 })).toBe(5);
      expect(await states()).toEqual([9, 8, 7, 6, 1]);
      expect(await store.prune('t', { last: 1 })).toBe(3);
      expect(await states()).toEqual([9, 1]);
      expect(await states('s')).toEqual(['other']);
      expect(await store.prune('t', { last: 1 })).toBe(0);
      expect(await store.pin('t', ids[1] as string, false)).toBe(true);
      expect(await store.prune('t', { last: 2 })).toBe(1);
      expect(await states()).toEqual([9]);
      expect(await store.latest('t')).toMatchObject({ parent: ids[8], state: 9 });
      expect(await store.prune('none', { last: 1 })).toBe(0);
    });

    test('goes by age too: what is older than that, or more than so many', async () => {
      await saved(3);
      await later(2_000);
      await saved(3);
      expect(await store.prune('t', { ageSec: 3_600 })).toBe(0);
      expect(await store.prune('t', { ageSec: 2 })).toBe(3);
      expect(await states()).toEqual([2, 1, 0]);
      await later(50);
      expect(await store.prune('t', { last: 3, ageSec: 0.01 })).toBe(2);
      expect(await states()).toEqual([2]);
    });

    test('takes away as many as there are, however many', async () => {
      await saved(300);
      expect(await store.prune('t', { last: 3 })).toBe(297);
      expect(await states()).toEqual([299, 298, 297]);
    });

    test('leaves nothing of them', async () => {
      const [first = ''] = await saved(1);
      const size = async () =>
        (await manager.command<string[]>('HKEYS', (await keys()).find((key) => key.includes('state:')) ?? '')).length;
      const before = await size();
      const ids = await saved(20);
      for (const id of ids) await store.addPending('t', id, 'task', [['x', 1]]);
      await store.addPending('t', first, 'task', [['x', 1]]);
      expect(await size()).toBeGreaterThan(before + 40);
      await store.save('t', 'last');
      expect(await store.prune('t', { last: 1 })).toBe(21);
      expect(await size()).toBe(before);
    });

    test('takes away a checkpoint with very many pending writes, of which nothing is left', async () => {
      const { id } = await store.save('t', 0, { id: '1' });
      for (let task = 0; task < 30; task++) {
        await store.addPending(
          't',
          id,
          `task-${task}`,
          Array.from({ length: 100 }, (_, at): [string, number] => [`w${at}`, at]),
        );
      }
      expect((await store.get('t', id))?.pending).toHaveLength(3_000);
      // One call takes a thousand of them at most: the checkpoint is gone at once, and its id is not free before all are.
      const few = new CheckpointStore(manager, { keep: { last: 1 } });
      await few.save('t', 1, { id: '2' });
      expect(await store.get('t', id)).toBeNull();
      await refusalOf(few.save('t', 'again', { id, branch: true }), 'conflict', / 2$/);
      expect(await store.prune('t', { last: 1 })).toBe(0);
      expect(await store.save('t', 'again', { id, branch: true })).toMatchObject({ id, parent: '2' });
      expect((await store.get('t', id))?.pending).toEqual([]);
      expect(await store.prune('t', { last: 1 })).toBe(0);
      const count = async (name: string, command: string) =>
        manager.command<number>(command, (await keys()).find((key) => key.includes(name)) ?? '');
      const order = await count('order:', 'ZCARD');
      const state = await count('state:', 'HLEN');
      expect([order, state].every((number) => number < 20)).toBe(true);
    });
  });

  describe('keep', () => {
    test('trims with every save, at most 64 at once', async () => {
      await saved(200);
      const few = new CheckpointStore(manager, { keep: { last: 10 } });
      await few.save('t', 'a');
      expect(await states()).toHaveLength(201 - 64);
      await few.save('t', 'b');
      await few.save('t', 'c');
      await few.save('t', 'd');
      expect(await states()).toEqual(['d', 'c', 'b', 'a', 199, 198, 197, 196, 195, 194]);
      await few.save('t', 'e');
      expect((await states())[9]).toBe(195);
    });

    test('has a thousand by default', async () => {
      await saved(1_003);
      const found = await states();
      expect(found).toHaveLength(1_000);
      expect(found.at(-1)).toBe(3);
    });

    test('by age keeps the latest, however old it is', async () => {
      const young = new CheckpointStore(manager, { keep: { ageSec: 0.2 } });
      await saved(3, young);
      await later(250);
      await young.save('t', 'new');
      expect(await states()).toEqual(['new']);
      await later(250);
      await young.save('t', 'other', { scope: 's' });
      expect(await states()).toEqual(['new']);
    });

    test('goes by the newest, whether they are pinned or not, and never takes pinned ones', async () => {
      const few = new CheckpointStore(manager, { keep: { last: 3 } });
      for (let n = 0; n < 5; n++) await few.pin('t', (await few.save('t', n)).id);
      await few.save('t', 'a');
      await few.save('t', 'b');
      expect(await states()).toEqual(['b', 'a', 4, 3, 2, 1, 0]);
      await few.save('t', 'c');
      await few.save('t', 'd');
      expect(await states()).toEqual(['d', 'c', 'b', 4, 3, 2, 1, 0]);
    });
  });

  test('pin tells whether there is such a checkpoint, and shows', async () => {
    const { id } = await store.save('t', 1, { scope: 's' });
    expect(await store.pin('t', id)).toBe(false);
    expect(await store.pin('t', id, true, { scope: 's' })).toBe(true);
    expect((await store.latest('t', { scope: 's' }))?.pinned).toBe(true);
    expect(await store.save('t', 1, { scope: 's', id })).toMatchObject({ pinned: true });
    expect(await store.pin('t', id, false, { scope: 's' })).toBe(true);
    expect((await store.latest('t', { scope: 's' }))?.pinned).toBe(false);
  });

  test('a thread that would have more than maxThreadBytes is refused a save, whole, until there is room', async () => {
    const small = new CheckpointStore(manager, { maxThreadBytes: 10_000, keep: { last: 1_000 } });
    const text = 'x'.repeat(1_000);
    let saves = 0;
    /** Saves until that is refused. */
    const fill = async (): Promise<void> => {
      saves = 0;
      const saving = async (): Promise<never> => {
        for (;;) {
          await small.save('t', text);
          saves += 1;
        }
      };
      const refused = /^CheckpointStore\.save: the thread would have \d+ bytes, more than maxThreadBytes, 10000$/;
      expect(await refusalOf(saving(), 'overloaded', refused)).toMatchObject({ delivery: 'rejected' });
    };
    await fill();
    expect(saves).toBeGreaterThan(6);
    expect(await states()).toHaveLength(saves);
    const { id } = (await small.latest('t')) as { id: string };
    expect(await refusalOf(small.addPending('t', id, 'task', [['x', text]]), 'overloaded')).toMatchObject({ delivery: 'rejected' });
    expect(await small.save('t', text, { id })).toMatchObject({ id });
    expect(await small.prune('t', { last: 1 })).toBe(saves - 1);
    const once = saves;
    await fill();
    expect(saves, 'what was taken away makes room').toBe(once - 1);
    expect(await small.remove('t')).toBe(true);
    await fill();
    expect(saves).toBe(once);
  });

  describe('ttlSec', () => {
    test('is renewed for all keys of the thread by each save', async () => {
      const lasting = new CheckpointStore(manager, { ttlSec: 100 });
      const run = await lasting.acquire('t', { worker: { id: 'w', epoch: 1 } });
      const { id } = (await run?.save(1)) ?? { id: '' };
      const least = async () => Math.min(...(await Promise.all((await keys()).map((key) => manager.command<number>('PTTL', key)))));
      expect(await least()).toBeGreaterThan(90_000);
      const shorten = async () => {
        for (const key of await keys()) if (!/due|workers/.test(key)) await manager.command('PEXPIRE', key, '30000');
      };
      for (const renewal of [() => run?.save(2), () => lasting.addPending('t', id, 'task', [['x', 1]], { fence: run?.fence })]) {
        await shorten();
        expect(await least()).toBeLessThan(31_000);
        await renewal();
        expect(await least()).toBeGreaterThan(90_000);
      }
      expect(Math.max(...(await Promise.all((await keys()).map((key) => manager.command<number>('PTTL', key)))))).toBeLessThan(200_000);
      await run?.pause();
    });

    test('leaves nothing in Redis', async () => {
      const lasting = new CheckpointStore(manager, { ttlSec: 0.3 });
      const threads = Array.from({ length: 40 }, (_, n) => `t${n}`);
      for (const thread of threads) {
        const { id } = await lasting.save(thread, 1);
        await lasting.addPending(thread, id, 'task', [['x', 1]]);
        await lasting.pin(thread, id);
      }
      const owner = backend.manager();
      await new CheckpointStore(owner, { ttlSec: 0.3 }).acquire('t1', { leaseMs: 100, worker: { id: 'w', epoch: 1 } });
      await owner.disconnect();
      await until(async () => (await keys()).length === 0, { what: 'all keys to expire' });
      expect(await lasting.latest('t1')).toBeNull();
    });

    test('without one nothing expires, and a later store with none takes the expiry back', async () => {
      await new CheckpointStore(manager, { ttlSec: 100 }).save('t', 1);
      await store.save('t', 2);
      for (const key of await keys()) expect(await manager.command('PTTL', key), key).toBe(-1);
    });

    test('one thread that lasts keeps the list of its share, those that expired leave it', async () => {
      const lasting = new CheckpointStore(manager, { ttlSec: 0.1 });
      await Promise.all(Array.from({ length: 100 }, (_, n) => lasting.save(`t${n}`, 1)));
      await Promise.all(Array.from({ length: 100 }, (_, n) => store.save(`u${n}`, 1)));
      const gone = async () => (await keys()).every((key) => !/:t\d+$/.test(key));
      await until(gone, { what: 'the threads to expire' });
      const found: string[] = [];
      for await (const thread of store.threads()) found.push(thread);
      expect(found.sort()).toEqual(Array.from({ length: 100 }, (_, n) => `u${n}`).sort());
      const listed = await Promise.all(
        (await keys()).filter((key) => key.endsWith(':threads')).map((key) => manager.command<number>('ZCARD', key)),
      );
      expect(listed.reduce((sum, count) => sum + count, 0)).toBe(100);
    });
  });

  test('prune needs to be told what to keep', async () => {
    await refusalOf(
      store.prune('t', undefined as unknown as CheckpointKeep),
      'config',
      /^CheckpointStore\.prune: keep: expected an object/,
    );
    await refusalOf(store.prune('t', { last: 0 }), 'config', /^CheckpointStore\.prune\.last: expected a whole number from 1/);
    await refusalOf(store.prune('t', { ageSec: -1 }), 'config', /^CheckpointStore\.prune\.ageSec: /);
    await refusalOf(store.prune('t', { first: 1 } as CheckpointKeep), 'config', /^CheckpointStore\.prune\.first: /);
  });
});
