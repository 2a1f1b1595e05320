/** A store for express-session and @fastify/session on a `SessionStore`. */

import session from 'express-session';
import {
  type IRedisConnection,
  RedisError,
  type SessionConflict,
  SessionConflictError,
  SessionStore,
  type SessionStoreOptions,
} from 'redis-backplane';
import { hide, internals } from '../internals.js';
import type { RawSession, Seen, Written } from '../sessions/redis.js';
import { merge } from './merge.js';

/** Options of a {@link BackplaneStore}. All options of a `SessionStore` are allowed too. Unknown names are refused. */
export interface BackplaneStoreOptions extends SessionStoreOptions {
  /**
   * What a save does when another request has saved the session since this request loaded it. `merge`: the changes of both requests are kept, by
   * top-level name; if both changed the same name, the later save counts. `reject`: the save fails with a `SessionConflictError`. `overwrite`: the
   * later save replaces the whole session, as with connect-redis. Default `merge`.
   */
  onConflict?: 'merge' | 'reject' | 'overwrite' | undefined;
  /**
   * The prefix of another store's keys in the same database, such as `sess:` of connect-redis. No namespace is put before the prefix. A session that
   * this store does not have is read from the other store, once, and taken over. The other store's key stays until it expires, so that processes which
   * still use the other store find the session; `destroy` deletes the key too. Default: none.
   */
  importFrom?: string | undefined;
}

/** The session as a request has read it or last saved it. A save is merged against this text. */
interface Base extends Seen {
  /** The request's data, as JSON text. */
  readonly mine: string;
  /** The text in Redis with that version. It differs from `mine` if the changes of other requests were merged. */
  readonly stored: string;
}

/**
 * The property of the data from `get` that leads to their {@link Base}. It survives when a framework copies the data into another object, and is not
 * part of the JSON.
 */
const MARK = '__backplane';
/** The most attempts of one save while other requests are faster. */
const MOST_ATTEMPTS = 50;
const POLICIES: readonly unknown[] = ['merge', 'reject', 'overwrite'];

type Callback<T = never> = (error?: unknown, value?: T) => void;

/** The private state of a {@link BackplaneStore}. */
class StoreInternals {
  readonly #sessions: SessionStore;
  readonly #onConflict: 'merge' | 'reject' | 'overwrite';
  readonly #importFrom: string | undefined;
  readonly #emitConflict: (conflict: { id: string; reason: SessionConflict }) => void;
  /** The bases, by the session object of express-session, or by the mark of a session of @fastify/session. */
  readonly #bases = new WeakMap<object, Base>();
  /** The running saves of this process, by session id. The saves of one session run one after another. */
  readonly #saving = new Map<string, Promise<void>>();

  constructor(
    sessions: SessionStore,
    { onConflict = 'merge', importFrom }: BackplaneStoreOptions,
    emitConflict: (conflict: { id: string; reason: SessionConflict }) => void,
  ) {
    if (!POLICIES.includes(onConflict)) {
      throw new RedisError('config', "BackplaneStore.onConflict: expected 'merge', 'reject' or 'overwrite', got another value");
    }
    if (importFrom !== undefined && (typeof importFrom !== 'string' || importFrom === '')) {
      throw new RedisError('config', 'BackplaneStore.importFrom: expected a prefix of keys, got none');
    }
    this.#sessions = sessions;
    this.#onConflict = onConflict;
    this.#importFrom = importFrom;
    this.#emitConflict = emitConflict;
  }

  async get(sid: string): Promise<session.SessionData | null> {
    const { sessions } = this.#sessions[internals];
    const prefix = this.#importFrom;
    const found = await this.#sessions[internals].ask<RawSession | null>(
      'read',
      async () => (await sessions.load(sid, true)) ?? (prefix === undefined ? null : await sessions.takeOver(sid, prefix)),
      async (away) => {
        const kept = await away.load(sid);
        return kept === null ? null : { ...kept, text: JSON.stringify(kept.data) };
      },
    );
    if (found === null) return null;
    const data = JSON.parse(found.text) as session.SessionData & { [MARK]?: unknown };
    // `toJSON` keeps the mark out of the JSON. Copies of the data share the mark object.
    const mark = { toJSON: () => undefined };
    this.#bases.set(mark, { ...seenOf(found), mine: found.text, stored: found.text });
    data[MARK] = mark;
    return data;
  }

  async set(sid: string, data: session.SessionData): Promise<void> {
    const before = this.#saving.get(sid);
    const mine = (before ?? Promise.resolve()).catch(() => {}).then(() => this.#save(sid, data));
    this.#saving.set(sid, mine);
    try {
      await mine;
    } finally {
      if (this.#saving.get(sid) === mine) this.#saving.delete(sid);
    }
  }

  async #save(sid: string, data: session.SessionData): Promise<void> {
    const mine = JSON.stringify(data);
    const ttlSec = ttlOf(data);
    if (ttlSec !== undefined && ttlSec <= 0) return this.destroy(sid);
    let base = this.#baseOf(data);
    if (base === undefined) {
      const written = await this.#create(sid, mine, ttlSec);
      if (written.word === 'created') return this.#keep(data, written.session, mine, mine);
      if (written.session === null) return this.#drop(sid, written.word === 'taken' ? 'gone' : written.word);
      if (this.#onConflict === 'reject') throw new SessionConflictError('BackplaneStore.set', sid, 'exists');
      base = { ...seenOf(written.session), mine: '{}', stored: written.session.text };
    }
    let seen: Seen & { stored: string } = base;
    for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
      const text = this.#onConflict === 'merge' ? merge(base.mine, mine, seen.stored) : mine;
      const written = await this.#write(seen, text, ttlSec);
      if (written.word === 'saved') return this.#keep(data, written.session, mine, text);
      if (written.session === null) return this.#drop(sid, written.word === 'destroyed' ? 'destroyed' : 'gone');
      if (this.#onConflict === 'reject') throw new SessionConflictError('BackplaneStore.set', sid, 'changed');
      // After two conflicts `read` waits for a random delay, so that competing requests spread out.
      const latest = attempt < 3 ? written.session : await this.#sessions[internals].sessions.read(sid, attempt);
      if (latest === null) return this.#drop(sid, 'gone');
      seen = { ...seenOf(latest), stored: latest.text };
    }
    throw new RedisError('timeout', `BackplaneStore.set: others were faster ${MOST_ATTEMPTS} times`, {
      retryable: true,
      delivery: 'rejected',
    });
  }

  #create(id: string, text: string, ttlSec: number | undefined): Promise<Written> {
    const own = this.#sessions[internals];
    return own.ask<Written>(
      'write',
      () => own.sessions.create(text, { id, ttlSec }),
      async (away) => {
        const now = Date.now();
        const kept = { id, version: 0, createdAt: now, expiresAt: now + (ttlSec ?? own.ttlSec) * 1000 };
        await away.save({ ...kept, data: JSON.parse(text) as object });
        return { word: 'created', session: { ...kept, text } };
      },
    );
  }

  #write(seen: Seen, text: string, ttlSec: number | undefined): Promise<Written> {
    const own = this.#sessions[internals];
    return own.ask<Written>(
      'write',
      async () => {
        if (seen.version > 0) return own.sessions.save(seen, text, ttlSec);
        // The session was created in the fallback. If Redis has a session with the id, its version is another one.
        const there = await own.sessions.load(seen.id, false);
        return there === null ? { word: 'gone', session: null } : { word: 'changed', session: there };
      },
      async (away) => {
        const kept = { ...seenOf(seen), expiresAt: Date.now() + (ttlSec ?? own.ttlSec) * 1000 };
        await away.save({ ...kept, data: JSON.parse(text) as object });
        return { word: 'saved', session: { ...kept, text } };
      },
    );
  }

  async touch(sid: string, data: session.SessionData): Promise<void> {
    const own = this.#sessions[internals];
    const ttlSec = ttlOf(data);
    if (ttlSec !== undefined && ttlSec <= 0) return this.destroy(sid);
    await own.ask<unknown>(
      'write',
      () => own.sessions.touch(sid, ttlSec, false),
      () => this.#sessions.touch(sid, ttlSec),
    );
  }

  async destroy(sid: string): Promise<void> {
    await this.#sessions.destroy(sid);
    const prefix = this.#importFrom;
    // The session is destroyed first, because a destroyed session is not taken over again from the other store.
    if (prefix === undefined) return;
    const own = this.#sessions[internals];
    await own.ask<void>(
      'write',
      () => own.sessions.forget(sid, prefix),
      async () => {},
    );
  }

  async ids(): Promise<string[]> {
    const ids = new Set<string>();
    for await (const id of this.#sessions[internals].sessions.ids()) ids.add(id);
    return [...ids];
  }

  async all(): Promise<Record<string, session.SessionData>> {
    const found: Record<string, session.SessionData> = {};
    for (const id of await this.ids()) {
      const raw = await this.#sessions[internals].sessions.load(id, false);
      if (raw !== null) found[id] = JSON.parse(raw.text);
    }
    return found;
  }

  async clear(): Promise<void> {
    for (const id of await this.ids()) await this.destroy(id);
  }

  /** Removes the mark from the data. Returns a function that gives the mark's base to the session object made of the data. */
  unmark(data: session.SessionData): (made: object) => void {
    const base = this.#baseOf(data);
    delete (data as { [MARK]?: unknown })[MARK];
    return (made) => {
      if (base !== undefined) this.#bases.set(made, base);
    };
  }

  #baseOf(data: session.SessionData): Base | undefined {
    const mark = (data as { [MARK]?: unknown })[MARK];
    return this.#bases.get(data) ?? (typeof mark === 'object' && mark !== null ? this.#bases.get(mark) : undefined);
  }

  #keep(data: session.SessionData, written: RawSession, mine: string, stored: string): void {
    this.#bases.set(data, { ...seenOf(written), mine, stored });
  }

  /** Handles a save of a session that was destroyed or lost meanwhile: the save is dropped, and `conflict` is emitted, or it throws with `reject`. */
  #drop(id: string, reason: SessionConflict): void {
    if (this.#onConflict === 'reject') throw new SessionConflictError('BackplaneStore.set', id, reason);
    this.#emitConflict({ id, reason });
  }
}

/**
 * A session store for express-session; the same object serves @fastify/session. The changes of concurrent requests are merged, and a slower request
 * does not bring a destroyed session back.
 *
 * The store emits `conflict` (`{ id, reason }`) when a save was dropped because the session was destroyed or lost meanwhile. It emits `disconnect` and
 * `connect` only with `whenAway: 'none'`: express-session then goes on without sessions, and leaves cookies alone.
 *
 * @example
 * app.use(session({ store: new BackplaneStore(manager), secret, resave: false, saveUninitialized: false }));
 */
export class BackplaneStore extends session.Store {
  /** @internal */
  declare readonly [internals]: StoreInternals;
  /** The store of the sessions. */
  readonly sessions: SessionStore;

  /** @throws RedisError of kind `config`, naming the option. */
  constructor(manager: IRedisConnection, options: BackplaneStoreOptions = {}) {
    super();
    const { onConflict, importFrom, ...rest } = options;
    this.sessions = new SessionStore(manager, rest);
    const emitConflict = (conflict: { id: string; reason: SessionConflict }): void => {
      this.emit('conflict', conflict);
    };
    hide(this, new StoreInternals(this.sessions, { onConflict, importFrom }, emitConflict));
    this.sessions.on('conflict', emitConflict);
    if (rest.whenAway === 'none') {
      this.sessions.on('degraded', () => this.emit('disconnect'));
      this.sessions.on('restored', () => this.emit('connect'));
    }
  }

  /** The session with this id, or `null`. */
  override get(sid: string, callback: (error: unknown, session?: session.SessionData | null) => void): void {
    answer(this[internals].get(sid), callback);
  }

  /** Saves a session; see `onConflict` for what others have changed meanwhile. */
  override set(sid: string, data: session.SessionData, callback?: (error?: unknown) => void): void {
    answer(this[internals].set(sid, data), callback);
  }

  /** Renews the expiry of a session, by its cookie. */
  override touch(sid: string, data: session.SessionData, callback?: (error?: unknown) => void): void {
    answer(this[internals].touch(sid, data), callback);
  }

  /** Destroys a session. A slower request does not bring it back. */
  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    answer(this[internals].destroy(sid), callback);
  }

  /** Every session, by its id. The call scans the whole database. */
  override all(callback: (error: unknown, sessions?: Record<string, session.SessionData> | null) => void): void {
    answer(this[internals].all(), callback);
  }

  /** The number of sessions. The call scans the whole database. */
  override length(callback: (error: unknown, length?: number) => void): void {
    const ids = this[internals].ids();
    answer(
      ids.then(({ length }) => length),
      callback,
    );
  }

  /** Destroys every session. The call scans the whole database. */
  override clear(callback?: (error?: unknown) => void): void {
    answer(this[internals].clear(), callback);
  }

  /** The ids of all sessions. The call scans the whole database. */
  ids(callback: (error: unknown, ids?: string[]) => void): void {
    answer(this[internals].ids(), callback);
  }

  /** As the method of express-session. The made session has no mark, so the application sees only its own data. */
  override createSession(
    req: Parameters<session.Store['createSession']>[0],
    data: session.SessionData,
  ): session.Session & session.SessionData {
    const known = this[internals].unmark(data);
    const made = super.createSession(req, data);
    known(made);
    return made;
  }
}

function seenOf({ id, version, createdAt }: Seen): Seen {
  return { id, version, createdAt };
}

/** The seconds until the cookie expires; `undefined` if it does not expire. */
function ttlOf({ cookie }: session.SessionData): number | undefined {
  const expires: unknown = cookie?.expires;
  if (expires === undefined || expires === null || typeof expires === 'boolean') return undefined;
  const at = new Date(expires as string | Date).getTime();
  // Rounded up to seconds, so that each request gives the same `ttlSec`.
  return Number.isNaN(at) ? undefined : Math.ceil((at - Date.now()) / 1000);
}

/** Calls `callback` with the outcome of `work`, in its own tick, so that an error of the callback does not become a rejection of `work`. */
function answer<T>(work: Promise<T>, callback: Callback<T> | undefined): void {
  work.then(
    (value) => callback !== undefined && process.nextTick(callback, null, value),
    (error: unknown) => callback !== undefined && process.nextTick(callback, error),
  );
}
