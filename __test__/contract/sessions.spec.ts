/** What every method of the store of sessions does, on every backend. */
import { KVStore, type RedisConnectionManager, type Session, SessionConflictError, SessionStore } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { until } from '../support/until.ts';

interface Cart {
  items: string[];
  note?: string;
}

describeBackends('sessions', (backend) => {
  let manager: RedisConnectionManager;
  let store: SessionStore<Cart>;

  beforeEach(() => {
    manager = backend.manager();
    store = new SessionStore<Cart>(manager);
  });

  /** The names of the keys of the namespace, without it. */
  const keys = async (): Promise<string[]> => {
    const found = await manager.command<string[]>('KEYS', `${backend.namespace}:*`);
    return found.map((key) => key.slice(backend.namespace.length + 1)).sort();
  };
  const conflictOf = async (work: Promise<unknown>) => {
    const error = await failureOf(work);
    expect(error).toBeInstanceOf(SessionConflictError);
    expect(error).toMatchObject({ redisErrorKind: 'conflict', code: 'ERR_REDIS_CONFLICT', delivery: 'rejected', retryable: false });
    return (error as SessionConflictError).reason;
  };

  describe('one session', () => {
    test('what is created is loaded, with its version and its times', async () => {
      const created = await store.create({ items: ['ü'] });
      expect(created).toMatchObject({ version: 1, data: { items: ['ü'] }, from: 'redis' });
      expect(created.id).toMatch(/^[\w-]{24}$/);
      expect(created.expiresAt - created.createdAt).toBe(86_400_000);
      expect(await store.load(created.id)).toEqual(created);
      expect(await store.load('another')).toBeNull();
    });

    test('no two sessions have one id', async () => {
      const ids = await Promise.all(Array.from({ length: 200 }, async () => (await store.create({ items: [] })).id));
      expect(new Set(ids).size).toBe(200);
    });

    test('an id that is taken is not given again', async () => {
      await store.create({ items: [] }, { id: 'mine' });
      expect(await conflictOf(store.create({ items: [] }, { id: 'mine' }))).toBe('exists');
    });

    test('of two who save one version the second is told', async () => {
      const session = await store.create({ items: [] });
      const [one, other] = [await store.load(session.id), await store.load(session.id)] as [Session<Cart>, Session<Cart>];
      const saved = await store.save(one, { items: ['a'] });
      expect(saved).toMatchObject({ id: session.id, version: 2, data: { items: ['a'] } });
      expect(await conflictOf(store.save(other, { items: ['b'] }))).toBe('changed');
      expect(await store.load(session.id)).toEqual(saved);
      expect((await store.save(saved, { items: [] })).version).toBe(3);
      expect(manager.metrics().redis_session_conflicts_total).toBe(1);
    });

    test('the same version and content give the same answer', async () => {
      const session = await store.create({ items: [] });
      const first = await store.save(session, { items: ['a'] });
      expect(await store.save(session, { items: ['a'] })).toEqual(first);
      expect(await conflictOf(store.save(session, { items: ['b'] }))).toBe('changed');
    });

    test('a session that was destroyed stays so, whoever saves it late', async () => {
      const session = await store.create({ items: [] }, { id: 's' });
      expect(await store.destroy('s')).toBe(true);
      expect(await store.destroy('s')).toBe(false);
      expect(await store.load('s')).toBeNull();
      expect(await conflictOf(store.save(session, { items: ['late'] }))).toBe('destroyed');
      expect(await conflictOf(store.create({ items: [] }, { id: 's' }))).toBe('destroyed');
      expect(await store.touch('s')).toBe(false);
      expect(await store.update('s', (data) => data)).toBeNull();
    });

    test('what Redis has lost is not there, and saving it does not bring it back', async () => {
      const session = await store.create({ items: [] });
      await store.append(session.id, 'hello');
      for (const key of await keys()) if (key.includes('data:')) await manager.command('DEL', `${backend.namespace}:${key}`);
      expect(await store.load(session.id)).toBeNull();
      expect(await store.recent(session.id, 5)).toEqual([]);
      expect(await conflictOf(store.save(session, { items: ['late'] }))).toBe('gone');
      expect(await store.load(session.id)).toBeNull();
      const again = await store.create({ items: [] }, { id: session.id });
      expect(await store.recent(session.id, 5)).toEqual([]);
      expect(again.version).toBe(1);
    });

    test('a save is of one incarnation: another session of the same id is not touched', async () => {
      const session = await store.create({ items: [] }, { id: 's' });
      await manager.command('DEL', `${backend.namespace}:${(await keys())[0]}`);
      await until(async () => Number((await manager.command<string[]>('TIME'))[0]) * 1000 > session.createdAt, { what: 'a later second' });
      await store.create({ items: ['new'] }, { id: 's' });
      expect(await conflictOf(store.save(session, { items: ['old'] }))).toBe('gone');
      expect((await store.load('s'))?.data.items).toEqual(['new']);
    });

    test('two stores in two namespaces have nothing in common', async () => {
      const other = new SessionStore<Cart>(manager, { namespace: 'other' });
      await store.create({ items: [] }, { id: 's' });
      expect(await other.load('s')).toBeNull();
    });

    test('a KV store that is cleared leaves the sessions', async () => {
      await store.create({ items: [] }, { id: 's' });
      await new KVStore(manager).set('k', 1);
      expect(await new KVStore(manager).clear()).toBe(1);
      expect(await store.load('s')).not.toBeNull();
    });
  });

  describe('update', () => {
    test('200 updates at once, each of another key, lose nothing', async () => {
      const other = new SessionStore<Record<string, number>>(backend.manager());
      const mine = new SessionStore<Record<string, number>>(manager);
      const { id } = await mine.create({});
      const updates = Array.from({ length: 200 }, (_, at) => (at % 2 ? mine : other).update(id, (data) => ({ ...data, [`k${at}`]: at })));
      const updated = await Promise.all(updates);
      expect(updated.every((session) => session !== null)).toBe(true);
      const loaded = await mine.load(id);
      expect(Object.keys(loaded?.data ?? {})).toHaveLength(200);
    });

    test('null destroys, and the next one finds none', async () => {
      const { id } = await store.create({ items: [] });
      expect(await store.update(id, () => null)).toBeNull();
      expect(await store.load(id)).toBeNull();
      let calls = 0;
      expect(await store.update(id, (data) => (calls++ ? data : data))).toBeNull();
      expect(calls).toBe(0);
    });

    test('a change that throws changes nothing', async () => {
      const session = await store.create({ items: [] });
      const boom = new Error('boom');
      await expect(
        store.update(session.id, () => {
          throw boom;
        }),
      ).rejects.toBe(boom);
      expect((await store.load(session.id))?.version).toBe(1);
    });

    test('what gives the same data back writes nothing', async () => {
      const session = await store.create({ items: [] });
      expect(await store.update(session.id, (data) => data)).toMatchObject({ version: 1 });
    });
  });

  describe('time', () => {
    test('a session that nobody uses is over, with its messages', async () => {
      const brief = new SessionStore<Cart>(manager, { ttlSec: 0.05 });
      const session = await brief.create({ items: [] });
      await brief.append(session.id, 'hello');
      await until(async () => (await brief.load(session.id, { touch: false })) === null, { what: 'the end of the session' });
      expect(await brief.recent(session.id, 1)).toEqual([]);
      expect(await conflictOf(brief.save(session, { items: [] }))).toBe('gone');
      await until(async () => (await keys()).length === 0, { what: 'all its keys to be gone' });
    });

    test('its absolute end comes whatever happens, also if its key stays', async () => {
      const brief = new SessionStore<Cart>(manager, { absoluteTtlSec: 0.2 });
      const session = await brief.create({ items: [] });
      expect(session.expiresAt - session.createdAt).toBe(200);
      expect(await brief.touch(session.id, 1000)).toBe(true);
      for (const key of await keys()) await manager.command('PERSIST', `${backend.namespace}:${key}`);
      await until(async () => (await brief.load(session.id)) === null, { what: 'the absolute end' });
      expect(await keys()).toEqual([]);
    });

    test('a read extends it once in touchEverySec, a save and a touch each time', async () => {
      const lazy = new SessionStore<Cart>(manager, { ttlSec: 1000, touchEverySec: 1000 });
      const eager = new SessionStore<Cart>(manager, { ttlSec: 1000, touchEverySec: 0 });
      const session = await lazy.create({ items: [] });
      const later = (was: number) => until(async () => ((await eager.load(session.id))?.expiresAt ?? 0) > was, { what: 'a later end' });
      expect((await lazy.load(session.id))?.expiresAt).toBe(session.expiresAt);
      await later(session.expiresAt);
      const { expiresAt } = (await lazy.load(session.id, { touch: false })) as Session<Cart>;
      expect((await lazy.load(session.id))?.expiresAt).toBe(expiresAt);
      await until(async () => (await lazy.touch(session.id)) && ((await lazy.load(session.id))?.expiresAt ?? 0) > expiresAt, {
        what: 'a touch',
      });
      expect(await lazy.touch(session.id, 5)).toBe(true);
      const short = (await lazy.load(session.id)) as Session<Cart>;
      expect(short.expiresAt).toBeLessThan(expiresAt);
      expect((await lazy.save(short, { items: [] })).expiresAt).toBeLessThan(expiresAt);
    });

    test('what is due sooner than touchEverySec, since its span is short, is extended', async () => {
      const brief = new SessionStore<Cart>(manager, { ttlSec: 0.4, touchEverySec: 60 });
      const session = await brief.create({ items: [] });
      await until(async () => ((await brief.load(session.id))?.expiresAt ?? 0) > session.expiresAt, { what: 'a later end' });
    });
  });

  describe('regenerate', () => {
    test('data, messages and user have another id, and the old one is dead', async () => {
      const before = await store.create({ items: ['a'] }, { user: 'ann' });
      await store.append(before.id, { said: 'hello' });
      const after = (await store.regenerate(before.id)) as Session<Cart>;
      expect(after.id).not.toBe(before.id);
      expect(after).toMatchObject({ data: { items: ['a'] }, createdAt: before.createdAt, version: 2 });
      expect(await store.load(before.id)).toBeNull();
      expect(await conflictOf(store.save(before, { items: ['late'] }))).toBe('destroyed');
      expect(await store.recent(after.id, 5)).toEqual([{ said: 'hello' }]);
      expect((await store.save(after, { items: ['b'] })).version).toBe(3);
      expect((await store.ofUser('ann')).map(({ id }) => id)).toEqual([after.id]);
    });

    test('there is nothing to regenerate where there is nothing', async () => {
      expect(await store.regenerate('nobody')).toBeNull();
      expect(await keys()).toEqual([]);
    });
  });

  describe('messages', () => {
    test('the newest come first, and no more than the limit are kept', async () => {
      const { id } = await store.create({ items: [] });
      for (let at = 1; at <= 5; at++) expect(await store.append(id, { at }, { limit: 3 })).toBe(Math.min(at, 3));
      expect(await store.recent(id, 10)).toEqual([{ at: 5 }, { at: 4 }, { at: 3 }]);
      expect(await store.recent(id, 1)).toEqual([{ at: 5 }]);
      expect((await store.load(id))?.version).toBe(1);
    });

    test('what has no session keeps no message', async () => {
      expect(await store.append('nobody', 'hello')).toBe(0);
      expect(await store.recent('nobody', 5)).toEqual([]);
      expect(await keys()).toEqual([]);
    });

    test('they go with the session', async () => {
      const { id } = await store.create({ items: [] });
      await store.append(id, 'hello');
      await store.destroy(id);
      expect((await keys()).map((key) => key.replace(/\{.*?\}/, ''))).toEqual([`~session::gone:${id}`]);
    });
  });

  describe('the sessions of a user', () => {
    test('all of them are found, and destroyed but for one', async () => {
      const made = await Promise.all(Array.from({ length: 150 }, () => store.create({ items: [] }, { user: 'ann' })));
      const bob = await store.create({ items: [] }, { user: 'bob' });
      const found = await store.ofUser('ann');
      expect(new Set(found.map(({ id }) => id))).toEqual(new Set(made.map(({ id }) => id)));
      expect(found[0]).toEqual({ id: expect.any(String), version: 1, createdAt: expect.any(Number), expiresAt: expect.any(Number) });
      const [kept] = made as [Session<Cart>];
      expect(await store.destroyOfUser('ann', { except: kept.id })).toBe(149);
      expect((await store.ofUser('ann')).map(({ id }) => id)).toEqual([kept.id]);
      expect(await store.load(bob.id)).not.toBeNull();
      expect(await store.ofUser('nobody')).toEqual([]);
    });

    test('an entry without a session is not shown, and a session that is about to be created is destroyed with the others', async () => {
      const list = `${backend.namespace}:~sessions-of:ann`;
      await manager.command('ZADD', list, 1, 'lost', Date.now(), 'coming');
      expect(await store.ofUser('ann')).toEqual([]);
      expect(await manager.command('ZRANGE', list, 0, -1)).toEqual(['coming']);
      expect(await store.destroyOfUser('ann')).toBe(0);
      expect(await conflictOf(store.create({ items: [] }, { id: 'coming' }))).toBe('destroyed');
    });

    test('an entry of another one’s session destroys nothing', async () => {
      const bob = await store.create({ items: [] }, { user: 'bob' });
      await manager.command('ZADD', `${backend.namespace}:~sessions-of:ann`, Date.now(), bob.id);
      expect(await store.ofUser('ann')).toEqual([]);
      expect(await store.destroyOfUser('ann')).toBe(0);
      expect(await store.load(bob.id)).not.toBeNull();
    });

    test('a list that was lost fills again while its sessions are used', async () => {
      const eager = new SessionStore<Cart>(manager, { touchEverySec: 0 });
      const session = await eager.create({ items: [] }, { user: 'ann' });
      await manager.command('DEL', `${backend.namespace}:~sessions-of:ann`);
      await until(
        async () => {
          await eager.load(session.id);
          return (await eager.ofUser('ann')).length === 1;
        },
        { what: 'the entry to come back' },
      );
    });

    test('a list does not grow with the sessions that are over', async () => {
      const list = `${backend.namespace}:~sessions-of:ann`;
      for (let at = 0; at < 50; at++) await manager.command('ZADD', list, at, `over-${at}`);
      for (let at = 0; at < 30; at++) await store.create({ items: [] }, { user: 'ann' });
      await until(async () => (await manager.command<number>('ZCARD', list)) === 30, { what: 'what is over to be gone' });
    });
  });
});
