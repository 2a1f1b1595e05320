/** Sessions on a real server that goes away, is slow, or forgets. */
import { setTimeout as pause } from 'node:timers/promises';
import session from 'express-session';
import {
  memorySessions,
  type RedisError,
  type SessionBackend,
  SessionConflictError,
  SessionStore,
  type SessionStoreOptions,
} from 'redis-backplane';
import { BackplaneStore } from 'redis-backplane/express-session';
import { afterEach, describe, expect, it } from 'vitest';
import { failureOf, refusalOf } from '../support/failure.ts';
import { useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const FAST = { minDelayMs: 1, maxDelayMs: 20 };
/** So long that a test which waits for it does not end in time. */
const COMMAND_TIMEOUT_MS = 60_000;

const warnings: Error[] = [];
const warned = (warning: Error) => warnings.push(warning);
afterEach(() => {
  process.off('warning', warned);
  warnings.length = 0;
});

/** A store on a server that can be killed, connected. */
async function storeOn(options: SessionStoreOptions, commandTimeoutMs = COMMAND_TIMEOUT_MS) {
  const server = await rig.server({ durable: true });
  const proxy = await rig.proxy(server);
  const manager = rig.manager({ url: proxy.url, commandTimeoutMs, reconnect: FAST });
  await manager.connect();
  const store = new SessionStore<Record<string, unknown>>(manager, options);
  const told: [string, unknown][] = [];
  for (const event of ['restored', 'conflict', 'error'] as const) store.on(event, (what) => told.push([event, what]));
  const restored = () =>
    until(() => told.find(([event]) => event === 'restored')?.[1], { what: 'the end of the outage', timeoutMs: 15_000 });
  return { server, proxy, manager, store, told, restored };
}

describe('many at once', () => {
  it('200 parallel requests that each change another key of one session lose nothing', async () => {
    const { server, store } = await storeOn({});
    const { id } = await store.create({});
    const stores = Array.from({ length: 4 }, () => new SessionStore<Record<string, unknown>>(rig.manager({ url: server.url })));
    await Promise.all(Array.from({ length: 200 }, (_, at) => stores[at % 4]?.update(id, (data) => ({ ...data, [`k${at}`]: at }))));
    expect(Object.keys((await store.load(id))?.data ?? {})).toHaveLength(200);
  });

  it('10 000 logouts raced by slow saves: none is undone', async () => {
    const { server, manager, store } = await storeOn({});
    const other = new SessionStore<Record<string, unknown>>(rig.manager({ url: server.url }));
    const outcomes = { saved: 0, destroyed: 0 };
    const ids: string[] = [];
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        Array.from({ length: 500 }, async () => {
          const session = await store.create({ n: 0 });
          ids.push(session.id);
          const save = other.save(session, { n: 1 }).then(
            () => outcomes.saved++,
            (error: unknown) => {
              if (!(error instanceof SessionConflictError) || error.reason !== 'destroyed') throw error;
              outcomes.destroyed++;
            },
          );
          await Promise.all([save, store.destroy(session.id)]);
        }),
      );
    }
    expect(outcomes.saved + outcomes.destroyed).toBe(10_000);
    for (const id of ids) expect(await other.load(id)).toBeNull();
    const data = (await server.keys()).filter(({ key }) => key.includes(':data:'));
    expect(data).toEqual([]);
    expect(manager.metrics().redis_session_degraded_total).toBe(0);
  });

  it('a server that forgot everything has no session, and a save brings none back', async () => {
    const { server, store } = await storeOn({});
    const session = await store.create({ n: 0 });
    await server.cli('FLUSHALL');
    expect(await store.load(session.id)).toBeNull();
    expect(await refusalOf(store.save(session, { n: 1 }), 'conflict')).toMatchObject({ reason: 'gone' });
    expect(await server.keys()).toEqual([]);
  });
});

describe('while Redis is away', () => {
  it("'fail' rejects, and nothing else happens", async () => {
    const { server, store, manager } = await storeOn({}, 300);
    const session = await store.create({ n: 0 });
    await server.kill9();
    for (const call of [store.load(session.id), store.save(session, { n: 1 }), store.create({})]) {
      expect(['connection', 'timeout']).toContain((await failureOf(call)).redisErrorKind);
    }
    expect(manager.metrics().redis_session_degraded_total).toBe(0);
  });

  it("'none' answers soon that there are no sessions, tells it once, and destroys what was destroyed", async () => {
    process.on('warning', warned);
    const { server, store, manager, restored } = await storeOn({ whenAway: 'none' });
    const session = await store.create({ n: 0 });
    await server.kill9();
    const begun = performance.now();
    expect(await store.load(session.id)).toBeNull();
    expect(performance.now() - begun).toBeLessThan(stretched(5_000));
    for (let at = 0; at < 20; at++) expect(await store.load(session.id)).toBeNull();
    expect(await store.create({ n: 2 })).toMatchObject({ version: 0, from: 'fallback' });
    expect(await store.destroy(session.id)).toBe(false);
    expect(await store.append(session.id, 1)).toBe(0);
    expect(await store.recent(session.id, 1)).toEqual([]);
    expect(await store.touch(session.id)).toBe(false);
    expect(['connection', 'timeout']).toContain((await failureOf(store.destroyOfUser('ann'))).redisErrorKind);
    expect(manager.metrics().redis_session_degraded_total).toBe(26);
    await until(() => warnings.length > 0, { what: 'the warning' });
    expect(warnings.map(({ name }) => name)).toEqual(['RedisSessionWarning']);
    await server.restart();
    expect(await restored()).toEqual({ saved: 0, conflicts: 0, discarded: 0, destroyed: 1 });
    expect(await store.load(session.id)).toBeNull();
    expect(await refusalOf(store.save(session, { n: 1 }), 'conflict')).toMatchObject({ reason: 'destroyed' });
  });

  it("with a fallback sessions go on, and 'newest' saves them at the version they are based on", async () => {
    const { server, proxy, store, told, restored, manager } = await storeOn({
      whenAway: { fallback: memorySessions(), onReturn: 'newest' },
    });
    const degraded: RedisError[] = [];
    store.on('degraded', (error) => degraded.push(error));
    const [kept, raced, ended] = [await store.create({ n: 0 }), await store.create({ n: 0 }), await store.create({ n: 0 })];
    await proxy.refuse();
    proxy.cut();
    expect(await store.load(kept.id)).toBeNull();
    const saved = await store.save(kept, { n: 1 });
    expect(saved).toMatchObject({ version: 1, data: { n: 1 }, from: 'fallback' });
    expect(await store.load(kept.id)).toEqual(saved);
    await store.save(raced, { n: 1 });
    await store.save(ended, { n: 1 });
    expect(await store.destroy(ended.id)).toBe(true);
    expect(await store.load(ended.id)).toBeNull();
    const made = await store.create({ fresh: true }, { user: 'ann' });
    expect(await store.update(made.id, (data) => ({ ...data, more: 1 }))).toMatchObject({ version: 0, data: { fresh: true, more: 1 } });
    const renewed = await store.regenerate(made.id);
    expect(await store.load(made.id)).toBeNull();
    expect(await store.touch(renewed?.id ?? '', 500)).toBe(true);
    expect(degraded).toHaveLength(1);
    expect(warnings).toEqual([]);
    // Somebody else reaches the server meanwhile.
    const elsewhere = new SessionStore<Record<string, unknown>>(rig.manager({ url: server.url }));
    await elsewhere.update(raced.id, () => ({ n: 'theirs' }));
    await proxy.accept();
    expect(await restored()).toEqual({ saved: 2, conflicts: 1, discarded: 0, destroyed: 1 });
    expect(told.filter(([event]) => event !== 'restored')).toEqual([['conflict', { id: raced.id, reason: 'changed' }]]);
    expect(await store.load(kept.id)).toMatchObject({ version: 2, data: { n: 1 }, from: 'redis' });
    expect(await store.load(raced.id)).toMatchObject({ data: { n: 'theirs' } });
    expect(await store.load(ended.id)).toBeNull();
    expect(await store.load(renewed?.id ?? '')).toMatchObject({ data: { fresh: true, more: 1 }, from: 'redis' });
    expect((await store.ofUser('ann')).map(({ id }) => id)).toEqual([renewed?.id]);
    expect(manager.metrics().redis_session_degraded_total).toBeGreaterThan(10);
  });

  it("'discard' says how many it dropped", async () => {
    const fallback = memorySessions();
    const { server, store, manager, restored } = await storeOn({ whenAway: { fallback, onReturn: 'discard', afterMs: 0 } });
    await server.kill9();
    // A write on a connection whose end is not known yet may have been executed, and waits for Redis.
    await until(() => manager.state !== 'ready', { what: 'the loss of the connection' });
    const [one] = [await store.create({ n: 1 }), await store.create({ n: 2 })];
    await server.restart();
    expect(await restored()).toEqual({ saved: 0, conflicts: 0, discarded: 2, destroyed: 0 });
    expect(await store.load(one.id)).toBeNull();
    expect([...(fallback.entries() as Iterable<unknown>)]).toEqual([]);
  });

  const POLICIES: [policy: string, whenAway: SessionStoreOptions['whenAway']][] = [
    ['fail', 'fail'],
    ['none', 'none'],
    ['discard', { fallback: memorySessions(), onReturn: 'discard' }],
    ['newest', { fallback: memorySessions(), onReturn: 'newest' }],
  ];

  it.each(POLICIES)(
    'for 10 s of traffic, %s: no call waits for the server, and what was accepted is where the policy says',
    async (policy, whenAway) => {
      process.on('warning', warned);
      const { server, store, manager, told, restored } = await storeOn({ whenAway }, policy === 'fail' ? 500 : COMMAND_TIMEOUT_MS);
      const sessions = await Promise.all(Array.from({ length: 8 }, () => store.create({ n: 0 })));
      await server.kill9();
      await until(() => manager.state !== 'ready', { what: 'the loss of the connection' });
      const end = performance.now() + 10_000;
      let [slowest, refused] = [0, 0];
      const users = sessions.map(async (session) => {
        let current = session;
        while (performance.now() < end) {
          const asked = performance.now();
          try {
            current = await store.save(current, { n: Number(current.data.n) + 1 });
          } catch (error) {
            expect(error).toMatchObject({ name: 'RedisError', delivery: 'not-sent' });
            refused++;
          }
          slowest = Math.max(slowest, performance.now() - asked);
          await pause(20);
        }
        return current;
      });
      const last = await Promise.all(users);
      expect(slowest).toBeLessThan(stretched(5_000));
      expect(refused > 0).toBe(policy === 'fail');
      await server.restart();
      if (policy === 'fail') await until(() => manager.state === 'ready', { what: 'the connection', timeoutMs: 15_000 });
      else {
        const [saved, discarded] = [policy === 'newest' ? 8 : 0, policy === 'discard' ? 8 : 0];
        expect(await restored()).toEqual({ saved, conflicts: 0, discarded, destroyed: 0 });
      }
      for (const { id, data } of last) {
        expect(data.n).toBeGreaterThan(policy === 'fail' ? -1 : 10);
        expect(await store.load(id)).toMatchObject({ from: 'redis', data: { n: policy === 'newest' ? data.n : 0 } });
      }
      expect(told.filter(([event]) => event !== 'restored')).toEqual([]);
      // Without a listener of `degraded` one warning tells of the outage.
      expect(warnings.map(({ name }) => name)).toEqual(policy === 'fail' ? [] : ['RedisSessionWarning']);
    },
    60_000,
  );

  it('a frozen server that may have executed a save is no reason to save elsewhere', async () => {
    const { server, store } = await storeOn({ whenAway: { fallback: memorySessions(), onReturn: 'newest' } }, 300);
    const session = await store.create({ n: 0 });
    await server.freeze();
    const error = await failureOf(store.save(session, { n: 1 }));
    expect(error).toMatchObject({ delivery: 'maybe-executed' });
    server.thaw();
    await until(async () => (await store.load(session.id))?.from === 'redis', { what: 'Redis', timeoutMs: 15_000 });
    // Asked again it is one save, whether or not that was executed.
    expect(await store.save(session, { n: 1 })).toMatchObject({ version: 2 });
  });

  it('a backend that does not answer is given up after timeoutMs', async () => {
    const never: SessionBackend = { ...memorySessions(), load: () => new Promise(() => {}) };
    const { server, store } = await storeOn({ whenAway: { fallback: never, onReturn: 'newest', timeoutMs: 50 } });
    await server.kill9();
    await refusalOf(store.load('s'), 'timeout', /whenAway\.fallback\.load took longer than timeoutMs, 50 ms/);
  });

  it('a manager that was disconnected is no outage', async () => {
    const { store, manager } = await storeOn({ whenAway: 'none' });
    await manager.disconnect();
    await refusalOf(store.load('s'), 'closed');
    expect(manager.metrics().redis_session_degraded_total).toBe(0);
    expect(manager.state).toBe('closed');
  });
});

describe('the store for express-session while Redis is away', () => {
  const ask = <T>(call: (callback: (error: unknown, value?: T) => void) => void): Promise<T> =>
    new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value as T))));
  const cookie = () => Object.assign(new session.Cookie(), { maxAge: 60_000 });

  async function adapterOn(options: SessionStoreOptions) {
    const server = await rig.server({ durable: true });
    const manager = rig.manager({ url: server.url, commandTimeoutMs: COMMAND_TIMEOUT_MS, reconnect: FAST });
    await manager.connect();
    const store = new BackplaneStore(manager, options);
    const told: string[] = [];
    for (const event of ['disconnect', 'connect'] as const) store.on(event, () => told.push(event));
    return { server, store, told };
  }

  it("says so to express-session with 'none', and only then", async () => {
    const { server, store, told } = await adapterOn({ whenAway: 'none' });
    await server.kill9();
    expect(await ask((callback) => store.get('s', callback))).toBeNull();
    expect(told).toEqual(['disconnect']);
    await server.restart();
    await until(() => told.length === 2, { what: 'the word that Redis is back', timeoutMs: 15_000 });
    expect(told).toEqual(['disconnect', 'connect']);
  });

  it('goes on with a fallback, and merges what was kept there', async () => {
    const { server, store, told } = await adapterOn({ whenAway: { fallback: memorySessions(), onReturn: 'newest' } });
    await ask((callback) => store.set('before', { cookie: cookie(), n: 1 } as session.SessionData, callback));
    const before = await ask<session.SessionData & { n: number }>((callback) => store.get('before', callback as never));
    const restored = new Promise((resolve) => store.sessions.on('restored', resolve));
    await server.kill9();
    before.n = 2;
    await ask((callback) => store.set('before', before, callback));
    await ask((callback) => store.set('fresh', { cookie: cookie(), n: 5 } as session.SessionData, callback));
    const fresh = await ask<session.SessionData & { n: number }>((callback) => store.get('fresh', callback as never));
    expect(fresh.n).toBe(5);
    await ask((callback) => store.touch('fresh', fresh, callback));
    await server.restart();
    expect(await restored).toEqual({ saved: 2, conflicts: 0, discarded: 0, destroyed: 0 });
    // A request that began while Redis was away ends now.
    fresh.n = 6;
    await ask((callback) => store.set('fresh', fresh, callback));
    expect(await ask((callback) => store.get('fresh', callback))).toMatchObject({ n: 6 });
    expect(await ask((callback) => store.get('before', callback))).toMatchObject({ n: 2 });
    expect(told).toEqual([]);
  });

  it('takes sessions over from another store in the middle of traffic: nobody is logged out, nothing is lost, no logout is undone', async () => {
    const server = await rig.server();
    const ids = Array.from({ length: 200 }, (_, at) => `user-${at}`);
    // As connect-redis writes them; programs that still use it read these keys.
    const old = new Map(ids.map((id) => [id, JSON.stringify({ cookie: cookie(), id })]));
    for (const [id, text] of old) await server.cli('SET', `sess:${id}`, text, 'EX', 3_600);
    const stores = Array.from({ length: 3 }, () => new BackplaneStore(rig.manager({ url: server.url }), { importFrom: 'sess:' }));
    const get = (id: string, at: number) => ask<Record<string, unknown> | null>((callback) => stores[at % 3]?.get(id, callback as never));
    await Promise.all(
      ids.flatMap((id) =>
        Array.from({ length: 6 }, async (_, at) => {
          const found = await get(id, at);
          expect(found, id).toMatchObject({ id });
          await ask((callback) => stores[at % 3]?.set(id, { ...found, [`k${at}`]: at } as never, callback));
        }),
      ),
    );
    for (const [at, id] of ids.entries()) {
      expect(await get(id, at)).toMatchObject({ id, k0: 0, k1: 1, k2: 2, k3: 3, k4: 4, k5: 5 });
      expect(await server.cli('GET', `sess:${id}`)).toBe(old.get(id));
    }
    const slow = await Promise.all(ids.map((id) => get(id, 0)));
    await Promise.all(
      ids.flatMap((id, at) => [
        ask((callback) => stores[1]?.destroy(id, callback)),
        ask((callback) => stores[0]?.set(id, slow[at] as never, callback)),
        get(id, 2),
      ]),
    );
    for (const [at, id] of ids.entries()) expect(await get(id, at)).toBeNull();
  });
});
