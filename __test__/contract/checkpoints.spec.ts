/** What every method of the store of checkpoints does with states, on every backend. */
import { type CheckpointInfo, CheckpointStore, KVStore, type RedisConnectionManager, SessionStore } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { refusalOf } from '../support/failure.ts';

const MADE_BY_SERVER = /^\d{13}-\d{6}$/;

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describeBackends('checkpoints', (backend) => {
  let manager: RedisConnectionManager;
  let store: CheckpointStore;

  beforeEach(() => {
    manager = backend.manager();
    store = new CheckpointStore(manager);
  });

  const keys = async (): Promise<string[]> => (await manager.command<string[]>('KEYS', `${backend.namespace}:*`)).sort();
  const ids = async (options?: Parameters<CheckpointStore['history']>[1], thread = 't'): Promise<string[]> =>
    (await collected(store.history(thread, options))).map(({ id }) => id);
  const conflict = async (work: Promise<unknown>, latest: string | null) => {
    const error = await refusalOf(work, 'conflict', latest === null ? /: there is none$/ : new RegExp(`latest.* ${latest}$`));
    expect(error).toMatchObject({ code: 'ERR_REDIS_CONFLICT', delivery: 'rejected', retryable: false });
  };

  describe('saving', () => {
    test('what is saved is loaded: the first follows none, each other one the latest', async () => {
      const first = await store.save('t', { n: 1 });
      expect(first).toEqual({
        thread: 't',
        scope: '',
        id: expect.stringMatching(MADE_BY_SERVER),
        parent: null,
        at: expect.any(Number),
        bytes: 7,
        meta: {},
        pinned: false,
      });
      const second = await store.save('t', { n: 2 }, { meta: { step: 2, by: 'ü' } });
      expect(second).toMatchObject({ parent: first.id, meta: { step: 2, by: 'ü' } });
      expect(await store.latest('t')).toEqual({ ...second, state: { n: 2 }, pending: [] });
      expect(await store.get('t', first.id)).toEqual({ ...first, state: { n: 1 }, pending: [] });
      expect(await store.get('t', 'another')).toBeNull();
      expect(await store.latest('another')).toBeNull();
      expect(Math.abs(second.at - Number((await manager.command<string[]>('TIME'))[0]) * 1000)).toBeLessThan(60_000);
    });

    test('a state is whatever JSON can express', async () => {
      const states = [null, false, 0, -1.5, '', 'ü😀\u0000', [], {}, [[{ a: [1, null] }]], 'x'.repeat(100_000), { '': 1 }];
      for (const state of states) {
        const { id } = await store.save('t', state);
        expect((await store.get('t', id))?.state).toEqual(state);
      }
    });

    test('a parent that is named must be the latest', async () => {
      await conflict(store.save('t', 1, { parent: 'x' }), null);
      const first = await store.save('t', 1, { parent: null });
      await conflict(store.save('t', 2, { parent: null }), first.id);
      const second = await store.save('t', 2, { parent: first.id });
      expect(second.parent).toBe(first.id);
      await conflict(store.save('t', 3, { parent: first.id }), second.id);
      expect((await store.save('t', 3, { parent: 'any' })).parent).toBe(second.id);
      expect(manager.metrics().redis_checkpoint_conflicts_total).toBe(3);
      expect(await ids()).toHaveLength(3);
    });

    test('with branch the parent may be an older one, but one that is there', async () => {
      const first = await store.save('t', 1);
      const second = await store.save('t', 2);
      const branch = await store.save('t', 3, { parent: first.id, branch: true });
      expect(branch.parent).toBe(first.id);
      const latest = await store.save('t', 4);
      expect(latest.parent).toBe(branch.id);
      await conflict(store.save('t', 5, { parent: 'none', branch: true }), latest.id);
      expect(second.parent).toBe(first.id);
    });

    test('the same id with the same content gives the same answer, another content is a conflict', async () => {
      const first = await store.save('t', { a: 1 }, { id: '1', meta: { m: 1 } });
      expect(await store.save('t', { a: 1 }, { id: '1', meta: { m: 1 } })).toEqual(first);
      await conflict(store.save('t', { a: 2 }, { id: '1', meta: { m: 1 } }), '1');
      await conflict(store.save('t', { a: 1 }, { id: '1' }), '1');
      await store.save('t', {}, { id: '2' });
      expect(await store.save('t', { a: 1 }, { id: '1', meta: { m: 1 }, parent: null })).toEqual(first);
      await conflict(store.save('t', { a: 3 }, { id: '1', branch: true }), '2');
      expect(await ids()).toEqual(['2', '1']);
      expect((await store.get('t', '1'))?.state).toEqual({ a: 1 });
    });

    test('ids that the server makes grow strictly, whoever saves', async () => {
      const other = new CheckpointStore(backend.manager());
      const saved = await Promise.all(Array.from({ length: 300 }, (_, n) => (n % 2 ? store : other).save('t', n)));
      const made = await ids();
      expect(new Set(made).size).toBe(300);
      expect(made.every((id) => MADE_BY_SERVER.test(id))).toBe(true);
      expect(made).toEqual(
        saved
          .map(({ id }) => id)
          .sort()
          .reverse(),
      );
      const chain = new Map(saved.map(({ id, parent }) => [id, parent]));
      expect(made.map((id) => chain.get(id))).toEqual([...made.slice(1), null]);
    });

    test('saves of one process are made in the order of the calls', async () => {
      const saved = await Promise.all(Array.from({ length: 50 }, (_, n) => store.save('t', n)));
      expect(saved.map(({ id }) => id)).toEqual((await ids()).reverse());
      expect((await store.latest('t'))?.state).toBe(49);
    });

    test('ids grow when the clock goes back, and when a millisecond has no number left', async () => {
      await store.save('t', 1, { id: '8999999999999-000007' });
      expect((await store.save('t', 2)).id).toBe('8999999999999-000008');
      await store.save('u', 1, { id: '8999999999999-999999' });
      expect((await store.save('u', 2)).id).toBe('9000000000000-000000');
    });

    test('ids that the server makes are greater than those of the caller', async () => {
      const given = ['1ef4f797-8335-6428-8001-8a1503f9b875', 'step-9', '\u{10ffff}', '9'];
      for (const [at, id] of given.entries()) {
        const thread = `t${at}`;
        await store.save(thread, 0, { id });
        const made = [await store.save(thread, 1), await store.save(thread, 2)];
        expect(await ids({}, thread)).toEqual([made[1]?.id, made[0]?.id, id]);
        expect(made.map(({ parent }) => parent)).toEqual([id, made[0]?.id]);
      }
    });

    test('ids of the caller are ordered by code points, and must grow', async () => {
      // As UTF-16 the last would be before the one before it; a locale would have 'a' before 'B'.
      const growing = ['10', '9', 'B', 'Z', 'a', 'a ', 'ab', 'b', 'é', '～', '😀'];
      for (const [at, id] of growing.entries())
        expect(await store.save('t', at, { id })).toMatchObject({ id, parent: growing[at - 1] ?? null });
      expect(await ids()).toEqual([...growing].reverse());
      await conflict(store.save('t', 0, { id: 'Y' }), '😀');
      await conflict(store.save('t', 0, { id: '～x' }), '😀');
      expect((await store.latest('t'))?.id).toBe('😀');
    });

    test('with branch a smaller id is saved beside the latest, which stays', async () => {
      await store.save('t', 1, { id: '1' });
      await store.save('t', 3, { id: '3' });
      const branch = await store.save('t', 2, { id: '2', parent: '1', branch: true });
      expect(branch.parent).toBe('1');
      expect((await store.latest('t'))?.id).toBe('3');
      expect(await ids()).toEqual(['3', '2', '1']);
    });

    test('of many who follow one parent one succeeds', async () => {
      const { id } = await store.save('t', 0);
      const stores = [store, new CheckpointStore(backend.manager())];
      const tries = Array.from({ length: 20 }, (_, n) => (stores[n % 2] as CheckpointStore).save('t', n, { parent: id }));
      const outcomes = await Promise.allSettled(tries);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(await ids()).toHaveLength(2);
    });

    test('saves and bytes are counted', async () => {
      await store.save('t', 'abc', { meta: { a: 1 } });
      await store.save('t', 'abc');
      const { redis_checkpoint_saves_total: saves, redis_checkpoint_bytes_total: bytes } = manager.metrics();
      expect([saves, bytes]).toEqual([2, 5 + 7 + 5 + 2]);
    });
  });

  test('scopes of a thread have histories of their own', async () => {
    const scopes = ['', 'a', 'ab', 'b', '\u0001', 'ü:{x}'];
    for (const scope of scopes) await store.save('t', scope, { scope, id: '1', parent: null });
    for (const scope of scopes) await store.save('t', `${scope}2`, { scope, id: '2', parent: '1' });
    for (const scope of scopes) {
      expect(await store.latest('t', { scope })).toMatchObject({ scope, id: '2', parent: '1', state: `${scope}2` });
      expect(await store.get('t', '1', { scope })).toMatchObject({ scope, state: scope });
      expect(await ids({ scope })).toEqual(['2', '1']);
    }
    expect(await store.latest('t', { scope: 'c' })).toBeNull();
  });

  describe('history', () => {
    test('tells of all, greatest id first, from any id, up to a limit', async () => {
      const all: CheckpointInfo[] = [];
      for (let n = 0; n < 250; n++)
        all.unshift(await store.save('t', { n }, { meta: { n, tens: Math.floor(n / 10), deep: { odd: n % 2 === 1 } } }));
      expect(await collected(store.history('t'))).toEqual(all);
      expect(await ids({ limit: 3 })).toEqual(all.slice(0, 3).map(({ id }) => id));
      expect(await ids({ limit: 200 })).toHaveLength(200);
      expect(await ids({ limit: 1_000 })).toHaveLength(250);
      expect(await collected(store.history('t', { before: all[100]?.id as string, limit: 120 }))).toEqual(all.slice(101, 221));
      expect(await ids({ before: all[249]?.id as string })).toEqual([]);
      expect(await ids({ before: 'x' })).toHaveLength(250);
      expect(await collected(store.history('t', { where: { tens: 3 } }))).toEqual(all.filter(({ meta }) => meta.tens === 3));
      expect(await ids({ where: { deep: { odd: true } } })).toHaveLength(125);
      expect(await collected(store.history('t', { where: { tens: 3, deep: { odd: false } }, limit: 2 }))).toMatchObject([
        { meta: { n: 38 } },
        { meta: { n: 36 } },
      ]);
      expect(await collected(store.history('t', { where: { tens: 3 }, before: all[250 - 35]?.id as string }))).toMatchObject(
        [33, 32, 31, 30].map((n) => ({ meta: { n } })),
      );
      expect(await ids({ where: { tens: '3' } })).toEqual([]);
      expect(await ids({ where: { none: null } })).toEqual([]);
    });

    test('stops asking when the caller stops', async () => {
      for (let n = 0; n < 120; n++) await store.save('t', n);
      const asking = async (most: number): Promise<number> => {
        const { redis_sent_bytes_total: before } = manager.metrics();
        let seen = 0;
        for await (const _ of store.history('t')) {
          seen += 1;
          if (seen === most) break;
        }
        return manager.metrics().redis_sent_bytes_total - before;
      };
      const whole = await asking(120);
      const one = await asking(1);
      expect(one, 'the second page is not asked for').toBeLessThan(whole / 1.5);
      expect(await asking(100)).toBe(one);
    });
  });

  describe('fork', () => {
    test('copies a checkpoint under its id, as often as asked', async () => {
      const first = await store.save('t', { n: 1 }, { meta: { step: 1 } });
      await store.save('t', { n: 2 });
      await store.addPending('t', first.id, 'task', [['a', 1]]);
      const copy = await store.fork('t', first.id, 'u');
      expect(copy).toEqual({ ...first, thread: 'u', parent: null, at: copy.at });
      expect(await store.latest('u')).toEqual({ ...copy, state: { n: 1 }, pending: [] });
      expect(await store.fork('t', first.id, 'u')).toEqual(copy);
      await store.save('u', { n: 3 });
      expect(await store.fork('t', first.id, 'u')).toEqual(copy);
      expect(await ids({}, 'u')).toHaveLength(2);
      expect(await ids()).toHaveLength(2);
      await store.remove('t');
      expect((await store.get('u', first.id))?.state).toEqual({ n: 1 });
    });

    test('a thread that has gone on from another checkpoint is left as it is', async () => {
      const { id } = await store.save('t', 1);
      const other = await store.save('u', 2);
      await conflict(store.fork('t', id, 'u'), other.id);
      await store.save('v', 'mine', { id });
      await conflict(store.fork('t', id, 'v'), id);
      expect((await store.latest('v'))?.state).toBe('mine');
    });

    test('a checkpoint of a scope is copied into that scope', async () => {
      const { id } = await store.save('t', 1, { scope: 's' });
      expect(await store.fork('t', id, 'u', { scope: 's' })).toMatchObject({ scope: 's', id });
      expect(await store.latest('u')).toBeNull();
      await refusalOf(store.fork('t', id, 'u'), 'config', /^CheckpointStore\.fork: id: /);
    });
  });

  describe('pending writes', () => {
    test('are found with their checkpoint, by task and in order, the first of a place', async () => {
      const { id } = await store.save('t', 1);
      await store.addPending('t', id, 'b', [
        ['x', { v: 1 }],
        ['x', null],
      ]);
      await store.addPending('t', id, 'a', [['y', 'ü']]);
      await store.addPending('t', id, 'b', [
        ['x', 'late'],
        ['x', 'late'],
        ['z', 3],
      ]);
      const pending = [
        { task: 'a', name: 'y', value: 'ü' },
        { task: 'b', name: 'x', value: { v: 1 } },
        { task: 'b', name: 'x', value: null },
        { task: 'b', name: 'z', value: 3 },
      ];
      expect((await store.latest('t'))?.pending).toEqual(pending);
      expect((await store.get('t', id))?.pending).toEqual(pending);
      await store.save('t', 2);
      expect((await store.latest('t'))?.pending).toEqual([]);
      expect((await store.get('t', id))?.pending).toEqual(pending);
    });

    test('may be there before their checkpoint, which makes a thread of them', async () => {
      await store.addPending('t', '1', 'task', [['x', 1]], { scope: 's' });
      expect(await store.latest('t', { scope: 's' })).toBeNull();
      expect(await collected(store.threads())).toEqual([]);
      await store.save('t', 0, { id: '1', scope: 's', parent: null });
      expect((await store.latest('t', { scope: 's' }))?.pending).toEqual([{ task: 'task', name: 'x', value: 1 }]);
    });

    test('none are none', async () => {
      const { id } = await store.save('t', 1);
      await store.addPending('t', id, 'task', []);
      expect((await store.latest('t'))?.pending).toEqual([]);
    });
  });

  describe('threads', () => {
    test('are told of, all of them or those that begin with a prefix', async () => {
      const names = Array.from({ length: 300 }, (_, n) => `${n % 3 ? 'import:{x}' : 'chat'}:${n}`);
      await Promise.all(names.map((name) => store.save(name, 1)));
      expect((await collected(store.threads())).sort()).toEqual([...names].sort());
      expect((await collected(store.threads({ prefix: 'chat' }))).sort()).toEqual(names.filter((name) => name.startsWith('chat')).sort());
      expect(await collected(store.threads({ prefix: 'none' }))).toEqual([]);
    });

    test('have names of any characters', async () => {
      const names = [' ', '{', '}', '{a}{b}', 'a:b', '\r\n', 'ü😀', 'x'.repeat(1_024), '__proto__'];
      for (const name of names) await store.save(name, name);
      for (const name of names) expect((await store.latest(name))?.state).toBe(name);
      expect((await collected(store.threads())).sort()).toEqual([...names].sort());
    });

    test('are removed with all that they have', async () => {
      const { id } = await store.save('t', 1);
      await store.save('t', 1, { scope: 's' });
      await store.addPending('t', id, 'task', [['x', 1]]);
      await store.save('stays', 1);
      expect(await store.remove('t')).toBe(true);
      expect(await store.remove('t')).toBe(false);
      expect([await store.latest('t'), await store.get('t', id), await store.latest('t', { scope: 's' })]).toEqual([null, null, null]);
      expect(await ids()).toEqual([]);
      expect(await collected(store.threads())).toEqual(['stays']);
      expect(await store.save('t', 2, { parent: null })).toMatchObject({ parent: null });
      expect((await store.latest('t'))?.pending).toEqual([]);
      await store.remove('t');
      await store.remove('stays');
      expect(await keys()).toEqual([]);
    });

    test('of two namespaces have nothing in common, nor with keys of other features', async () => {
      const other = new CheckpointStore(manager, { namespace: 'other' });
      await store.save('t', 1);
      expect(await other.latest('t')).toBeNull();
      expect(await collected(other.threads())).toEqual([]);
      await new SessionStore(manager).create({}, { id: 't' });
      await new KVStore(manager).set('t', 1);
      expect(await new KVStore(manager).clear()).toBe(1);
      expect((await store.latest('t'))?.state).toBe(1);
    });

    test('have all their keys in one hash slot', async () => {
      const run = await store.acquire('t', { worker: { id: 'w', epoch: 1 } });
      await run?.save(1);
      const found = await keys();
      expect(found.map((key) => key.slice(key.indexOf('}') + 2))).toEqual(['due', 'order:t', 'state:t', 'threads', 'workers']);
      expect(new Set(found.map((key) => /\{(.+?)\}/.exec(key)?.[1])).size).toBe(1);
      await run?.finish();
    });

    test('that lost one of their keys have no checkpoints, and begin again', async () => {
      for (const lost of ['state:', 'order:']) {
        await store.save('t', 1);
        await store.save('t', 2);
        const [key] = (await keys()).filter((name) => name.includes(lost));
        await manager.command('DEL', key ?? '');
        expect(await store.latest('t')).toBeNull();
        expect(await ids()).toEqual([]);
        const first = await store.save('t', 3);
        expect(first.parent).toBeNull();
        expect(await ids()).toEqual([first.id]);
        await store.remove('t');
      }
      expect(await keys()).toEqual([]);
    });
  });
});
