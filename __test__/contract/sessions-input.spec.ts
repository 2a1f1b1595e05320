/** What the store of sessions refuses, and that nothing is sent then. */
import { memorySessions, type RedisConnectionManager, type Session, SessionStore, type SessionStoreOptions } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf, refusalOf } from '../support/failure.ts';

describeBackends('input of sessions', (backend) => {
  let manager: RedisConnectionManager;
  let store: SessionStore<Record<string, unknown>>;

  beforeEach(() => {
    manager = backend.manager();
    store = new SessionStore(manager, { maxBytes: 100 });
  });

  test('an option that cannot be is named', () => {
    const bad: [Record<string, unknown>, RegExp][] = [
      [{ ttlSec: 0 }, /^SessionStore\.ttlSec: expected a number of seconds from 0\.001/],
      [{ ttlSec: Number.NaN }, /^SessionStore\.ttlSec: .* got NaN/],
      [{ absoluteTtlSec: -1 }, /^SessionStore\.absoluteTtlSec: /],
      [{ touchEverySec: '1' }, /^SessionStore\.touchEverySec: /],
      [{ maxBytes: 0 }, /^SessionStore\.maxBytes: expected a whole number from 1/],
      [{ namespace: '~x' }, /^SessionStore\.namespace: /],
      [{ ttl: 1 }, /^SessionStore\.ttl: expected one of the options/],
      [{ whenAway: 'sometimes' }, /^SessionStore\.whenAway: expected 'fail', 'none'/],
      [{ whenAway: null }, /^SessionStore\.whenAway: /],
      [{ whenAway: { fallback: memorySessions() } }, /^SessionStore\.whenAway\.onReturn: expected 'discard' or 'newest'/],
      [{ whenAway: { fallback: memorySessions(), onReturn: 'newest', afterMs: -1 } }, /^SessionStore\.whenAway\.afterMs: /],
      [{ whenAway: { fallback: memorySessions(), onReturn: 'newest', timeoutMs: 0 } }, /^SessionStore\.whenAway\.timeoutMs: /],
      [{ whenAway: { fallback: memorySessions(), onReturn: 'newest', after: 1 } }, /^SessionStore\.whenAway\.after: /],
      [{ whenAway: { onReturn: 'newest' } }, /^SessionStore\.whenAway\.fallback: expected a SessionBackend/],
      [{ whenAway: { fallback: {}, onReturn: 'newest' } }, /^SessionStore\.whenAway\.fallback\.load: expected a function/],
    ];
    for (const [options, message] of bad) {
      expect(() => new SessionStore(manager, options as SessionStoreOptions), JSON.stringify(options)).toThrow(message);
    }
    expect(() => memorySessions({ max: 0 })).toThrow(/^memorySessions: max: /);
  });

  test('an argument that cannot be is named, and nothing is sent', async () => {
    const session = await store.create({});
    await manager.ping();
    const { redis_sent_bytes_total: sent } = manager.metrics();
    const long = 'x'.repeat(513);
    const at = (name: string) => new RegExp(`^SessionStore\\.${name}: `);
    await refusalOf(store.load(''), 'config', at('load: id'));
    await refusalOf(store.load(long), 'config', at('load: id'));
    await refusalOf(store.load('\ud800'), 'config', at('load: id'));
    await refusalOf(store.destroy(7 as never), 'config', at('destroy: id'));
    await refusalOf(store.create({}, { id: '' }), 'config', at('create\\.id'));
    await refusalOf(store.create({}, { user: long }), 'config', at('create\\.user'));
    await refusalOf(store.create({}, { ttlSec: -1 }), 'config', at('create\\.ttlSec'));
    await refusalOf(store.create({}, { ttl: 1 } as never), 'config', at('create\\.ttl'));
    await refusalOf(store.create(7 as never), 'config', at('create: data'));
    await refusalOf(
      store.create({ text: 'x'.repeat(100) }),
      'config',
      /create: data: expected at most maxBytes, 100 bytes of JSON, got 111/,
    );
    await refusalOf(store.save(session, { text: 'x'.repeat(100) }), 'config', /save: data: expected at most maxBytes/);
    await refusalOf(store.append(session.id, 'x'.repeat(100)), 'config', /append: message: expected at most maxBytes/);
    await refusalOf(store.append(session.id, 1, { limit: 10_001 }), 'config', at('append: limit'));
    await refusalOf(store.append(session.id, 1, { most: 1 } as never), 'config', at('append\\.most'));
    await refusalOf(store.recent(session.id, 0), 'config', at('recent: limit'));
    await refusalOf(store.save({ ...session, version: 0.5 }, {}), 'config', at('save: session\\.version'));
    await refusalOf(store.save({} as Session, {}), 'config', at('save: session\\.id'));
    await refusalOf(store.touch(session.id, 0), 'config', at('touch: ttlSec'));
    await refusalOf(store.update(session.id, 7 as never), 'config', at('update: change'));
    await refusalOf(store.ofUser(''), 'config', at('ofUser: user'));
    await refusalOf(store.destroyOfUser('u', { but: 'x' } as never), 'config', at('destroyOfUser\\.but'));
    for (const value of [
      { n: 1n },
      (() => {
        const loop: Record<string, unknown> = {};
        loop.loop = loop;
        return loop;
      })(),
    ]) {
      await refusalOf(store.create(value), 'serialization', at('create: data'));
      await refusalOf(store.save(session, value), 'serialization', at('save: data'));
    }
    await refusalOf(store.append(session.id, undefined), 'serialization', at('append: message'));
    expect(manager.metrics().redis_sent_bytes_total).toBe(sent);
  });

  test('what another program wrote there is told', async () => {
    await store.create({}, { id: 's' });
    const [key = ''] = await manager.command<string[]>('KEYS', `${backend.namespace}:*`);
    await manager.command('HSET', key, 'j', 'no json');
    await refusalOf(store.load('s'), 'serialization', /^session: expected JSON/);
    await manager.command('HDEL', key, 'v');
    expect(await store.load('s')).toBeNull();
    await manager.command('DEL', key);
    await manager.command('SET', key, 'text');
    expect(await failureOf(store.load('s'))).toMatchObject({ redisErrorKind: 'server', serverCode: 'WRONGTYPE' });
  });
});
