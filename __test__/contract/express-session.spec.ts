/** What the store for express-session does with the sessions of express-session, on every backend. */
import type { IncomingMessage } from 'node:http';
import session from 'express-session';
import { type RedisConnectionManager, type SessionConflict, SessionConflictError, SessionStore } from 'redis-backplane';
import { BackplaneStore, type BackplaneStoreOptions } from 'redis-backplane/express-session';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

type Loaded = session.Session & session.SessionData & Record<string, unknown>;

describeBackends('store for express-session', (backend) => {
  let manager: RedisConnectionManager;
  let store: BackplaneStore;

  beforeEach(() => {
    manager = backend.manager();
    store = new BackplaneStore(manager);
  });

  /** What a method gives its callback. */
  function ask<T>(call: (callback: (error: unknown, value?: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value as T))));
  }
  /** As the middleware makes a session where there is none. */
  const create = async (sid: string, data: Record<string, unknown> = {}, of = store): Promise<void> => {
    const cookie = Object.assign(new session.Cookie(), { maxAge: 60_000 });
    await ask((callback) => of.set(sid, { cookie, ...data }, callback));
  };
  /** As the middleware loads one for a request. */
  const load = async (sid: string, of = store): Promise<Loaded> => {
    const data = await ask<session.SessionData | null>((callback) => of.get(sid, callback));
    if (!data) throw new Error(`there is no session ${sid}`);
    const request = { sessionID: sid, sessionStore: of } as unknown as IncomingMessage;
    return of.createSession(request as Parameters<BackplaneStore['createSession']>[0], data) as Loaded;
  };
  const save = (loaded: Loaded) => ask<void>((callback) => loaded.save(callback));
  const stored = async (sid: string) => {
    const { cookie: _, ...data } = (await store.sessions.load(sid))?.data ?? {};
    return data;
  };

  test('a session comes back with its cookie, and with nothing that the application did not put in', async () => {
    await create('s', { name: 'ann' });
    const loaded = await load('s');
    expect(Object.keys(loaded).sort()).toEqual(['cookie', 'name']);
    expect(loaded.cookie.expires).toBeInstanceOf(Date);
    expect(loaded.cookie.originalMaxAge).toBeGreaterThan(59_000);
    expect(await ask((callback) => store.get('nobody', callback))).toBeNull();
    const info = await store.sessions.load('s');
    expect((info?.expiresAt ?? 0) - (info?.createdAt ?? 0)).toBeLessThanOrEqual(60_000);
  });

  test('200 requests at once that each change another name lose nothing', async () => {
    await create('s');
    const other = new BackplaneStore(backend.manager());
    const requests = await Promise.all(Array.from({ length: 200 }, (_, at) => load('s', at % 2 ? store : other)));
    for (const [at, loaded] of requests.entries()) loaded[`k${at}`] = at;
    await Promise.all(requests.map(save));
    expect(Object.keys(await stored('s'))).toHaveLength(200);
  });

  test('a name that one request removes and another changes is as the later one has it; the others are as they were made', async () => {
    await create('s', { a: 1, b: 1, c: 1, list: [1] });
    const [one, other] = [await load('s'), await load('s')];
    delete one.a;
    one.b = 2;
    one.list = [1, 2];
    other.b = 3;
    other.d = 4;
    await save(one);
    await save(other);
    expect(await stored('s')).toEqual({ b: 3, c: 1, d: 4, list: [1, 2] });
    // Saved once more it does not take away what it has never seen.
    other.e = 5;
    await save(other);
    expect(await stored('s')).toEqual({ b: 3, c: 1, d: 4, e: 5, list: [1, 2] });
  });

  test('the data that get gives is enough for frameworks that copy it', async () => {
    await create('s', { a: 1 });
    const copy = async () => ({
      ...(await ask<session.SessionData & Record<string, unknown>>((callback) => store.get('s', callback as never))),
    });
    const [one, other] = [await copy(), await copy()];
    expect(JSON.parse(JSON.stringify(one))).toEqual({ a: 1, cookie: expect.anything() });
    one.one = 1;
    other.other = 1;
    await ask((callback) => store.set('s', one, callback));
    await ask((callback) => store.set('s', other, callback));
    expect(await stored('s')).toEqual({ a: 1, one: 1, other: 1 });
  });

  test("'reject' tells the later one, 'overwrite' lets it count for everything", async () => {
    for (const [onConflict, expected] of [
      ['reject', { one: 1 }],
      ['overwrite', { other: 1 }],
    ] as const) {
      const of = new BackplaneStore(manager, { onConflict, namespace: onConflict });
      await create('s', {}, of);
      const [one, other] = [await load('s', of), await load('s', of)];
      one.one = 1;
      other.other = 1;
      await save(one);
      const late = save(other);
      if (onConflict === 'reject') await expect(late).rejects.toBeInstanceOf(SessionConflictError);
      else await late;
      expect((await of.sessions.load('s'))?.data).toMatchObject(expected);
      expect(Object.keys((await of.sessions.load('s'))?.data ?? {})).toHaveLength(2);
    }
  });

  test('a request that is slower than a logout does not bring the session back, and that is told', async () => {
    const told: { id: string; reason: SessionConflict }[] = [];
    store.on('conflict', (conflict) => told.push(conflict));
    await create('s', { a: 1 });
    const slow = await load('s');
    await ask((callback) => store.destroy('s', callback));
    slow.a = 2;
    await save(slow);
    expect(await ask((callback) => store.get('s', callback))).toBeNull();
    expect(told).toEqual([{ id: 's', reason: 'destroyed' }]);
  });

  test('touch keeps a session for the time of its cookie, and a cookie that has expired ends it', async () => {
    await create('s');
    const loaded = await load('s');
    loaded.cookie.maxAge = 600_000;
    await ask((callback) => store.touch('s', loaded, callback));
    const info = await store.sessions.load('s', { touch: false });
    expect((info?.expiresAt ?? 0) - (info?.createdAt ?? 0)).toBeGreaterThan(500_000);
    loaded.cookie.expires = new Date(Date.now() - 1000);
    await save(loaded);
    expect(await store.sessions.load('s')).toBeNull();
  });

  test('all, length, ids and clear are about the sessions of its namespace', async () => {
    const other = new BackplaneStore(manager, { namespace: 'other' });
    await create('theirs', {}, other);
    for (const sid of ['a', 'b', 'c']) await create(sid, { sid });
    expect((await ask<string[]>((callback) => store.ids(callback))).sort()).toEqual(['a', 'b', 'c']);
    expect(await ask((callback) => store.length(callback))).toBe(3);
    expect(await ask((callback) => store.all(callback))).toMatchObject({ a: { sid: 'a' }, b: { sid: 'b' }, c: { sid: 'c' } });
    await ask((callback) => store.clear(callback));
    expect(await ask((callback) => store.length(callback))).toBe(0);
    expect(await ask((callback) => other.length(callback))).toBe(1);
  });

  test('a bad option is named', () => {
    for (const [options, message] of [
      [{ onConflict: 'fight' }, /^BackplaneStore\.onConflict: /],
      [{ importFrom: '' }, /^BackplaneStore\.importFrom: /],
      [{ ttl: 5 }, /^SessionStore\.ttl: expected one of the options/],
    ] as [BackplaneStoreOptions, RegExp][]) {
      expect(() => new BackplaneStore(manager, options)).toThrow(message);
    }
  });

  describe('sessions of connect-redis', () => {
    const prefix = () => `${backend.namespace}-sess:`;
    const theirs = (sid: string, data: Record<string, unknown>) =>
      manager.command('SET', `${prefix()}${sid}`, JSON.stringify({ cookie: { originalMaxAge: 60_000 }, ...data }), 'PX', 60_000);
    let importing: BackplaneStore;
    beforeEach(() => {
      importing = new BackplaneStore(manager, { importFrom: prefix() });
    });

    test('are taken over once, also by two at once, and stay where they are', async () => {
      await theirs('s', { name: 'ann' });
      const [one, other] = await Promise.all([
        load('s', importing),
        load('s', new BackplaneStore(backend.manager(), { importFrom: prefix() })),
      ]);
      expect([one.name, other.name]).toEqual(['ann', 'ann']);
      one.name = 'bob';
      await save(one);
      await theirs('s', { name: 'eve' });
      expect((await load('s', importing)).name).toBe('bob');
      expect(await manager.command('EXISTS', `${prefix()}s`)).toBe(1);
    });

    test('that were destroyed here are not taken over again', async () => {
      await theirs('s', { name: 'ann' });
      await load('s', importing);
      await ask((callback) => importing.destroy('s', callback));
      expect(await manager.command('EXISTS', `${prefix()}s`)).toBe(0);
      await theirs('s', { name: 'late' });
      expect(await ask((callback) => importing.get('s', callback))).toBeNull();
    });

    test('that were never read are destroyed, too', async () => {
      await theirs('s', {});
      await ask((callback) => importing.destroy('s', callback));
      expect(await manager.command('EXISTS', `${prefix()}s`)).toBe(0);
      await theirs('s', {});
      expect(await ask((callback) => importing.get('s', callback))).toBeNull();
    });

    test('end when they would have ended, and are not taken over again then', async () => {
      await theirs('s', {});
      await manager.command('PEXPIRE', `${prefix()}s`, 200);
      await load('s', importing);
      await theirs('s', {});
      const isOver = async () => (await importing.sessions.load('s', { touch: false })) === null;
      await until(isOver, { what: 'the end of the session' });
      expect(await ask((callback) => importing.get('s', callback))).toBeNull();
    });

    test('none of the requests of a rollout is without its session', async () => {
      const sids = Array.from({ length: 100 }, (_, at) => `s${at}`);
      await Promise.all(sids.map((sid) => theirs(sid, { sid })));
      const loaded = await Promise.all([...sids, ...sids].map((sid) => load(sid, importing)));
      for (const [at, each] of loaded.entries()) each[`r${at}`] = at;
      await Promise.all(loaded.map(save));
      const sessions = new SessionStore(manager);
      for (const [at, sid] of sids.entries()) {
        expect((await sessions.load(sid))?.data).toMatchObject({ sid, [`r${at}`]: at, [`r${at + 100}`]: at + 100 });
      }
    });
  });
});
