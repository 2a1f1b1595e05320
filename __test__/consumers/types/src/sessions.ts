/** Every method of the store of sessions, as a strict user writes them. */
import {
  type Container,
  type ISessionStore,
  memorySessions,
  type RedisConnectionManager,
  type RedisError,
  type Session,
  type SessionBackend,
  type SessionConflict,
  SessionConflictError,
  type SessionInfo,
  SessionStore,
  type SessionStoreOptions,
  type StoredSession,
  type WhenAway,
} from 'redis-backplane';

interface Cart {
  items: string[];
}

/** A fallback of the user's own. */
class Table implements SessionBackend {
  readonly #rows = new Map<string, StoredSession>();
  async load(id: string): Promise<StoredSession | null> {
    return this.#rows.get(id) ?? null;
  }
  async save(session: StoredSession): Promise<void> {
    this.#rows.set(session.id, session);
  }
  async destroy(id: string): Promise<boolean> {
    return this.#rows.delete(id);
  }
  async *entries(): AsyncGenerator<StoredSession> {
    yield* this.#rows.values();
  }
}

export async function sessions(redis: RedisConnectionManager, container: Container): Promise<void> {
  const whenAway: WhenAway = { fallback: new Table(), afterMs: 200, onReturn: 'newest', timeoutMs: 1_000 };
  const options: SessionStoreOptions = {
    namespace: 'web',
    ttlSec: 60,
    absoluteTtlSec: 3_600,
    touchEverySec: 10,
    maxBytes: 1_024,
    whenAway,
  };
  const store = new SessionStore<Cart>(redis, options);
  new SessionStore(redis);
  new SessionStore(redis, { whenAway: { fallback: memorySessions({ max: 5 }), onReturn: 'discard' } });

  const created: Session<Cart> = await store.create({ items: [] }, { id: 'a', user: 'ann', ttlSec: 30 });
  const loaded: Session<Cart> | null = await store.load(created.id, { touch: false });
  try {
    const saved: Session<Cart> = await store.save(created, { items: ['tea'] });
    saved.data.items.push('cup');
  } catch (error) {
    if (!(error instanceof SessionConflictError)) throw error;
    const reason: SessionConflict = error.reason;
    const kind: 'conflict' extends RedisError['redisErrorKind'] ? true : false = true;
    console.log(reason, error.sessionId, kind);
  }
  const updated: Session<Cart> | null = await store.update('a', ({ items }) => (items.length > 0 ? { items: [] } : null));
  const touched: boolean = await store.touch('a', 5);
  const renewed: Session<Cart> | null = await store.regenerate('a');
  const count: number = await store.append<{ text: string }>('a', { text: 'hello' }, { limit: 5 });
  const recent: { text: string }[] = await store.recent<{ text: string }>('a', 5);
  const infos: SessionInfo[] = await store.ofUser('ann');
  const destroyed: number = await store.destroyOfUser('ann', { except: 'a' });
  const wasThere: boolean = await store.destroy('a');
  const told = ({
    saved,
    conflicts,
    discarded,
    destroyed,
  }: {
    saved: number;
    conflicts: number;
    discarded: number;
    destroyed: number;
  }): number => saved + conflicts + discarded + destroyed;
  store
    .on('degraded', (error: RedisError) => error.redisErrorKind)
    .on('restored', told)
    .on('conflict', ({ id, reason }) => `${id} ${reason}`)
    .on('error', (error: RedisError) => error.code)
    .off('restored', told);
  const any: ISessionStore<Cart> = store;
  const same: ISessionStore<Cart> = container.getSessions<Cart>();
  console.log(loaded?.version, updated, touched, renewed, count, recent, infos, destroyed, wasThere, any === same);
}
