/// <reference types="node" />
import session from 'express-session';
import { SessionStore, IRedisConnection, SessionStoreOptions } from 'redis-backplane';

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
export declare class BackplaneStore extends session.Store {
  /** The store of the sessions. */
  readonly sessions: SessionStore;
  /** @throws RedisError of kind `config`, naming the option. */
  constructor(manager: IRedisConnection, options?: BackplaneStoreOptions);
  /** The session with this id, or `null`. */
  get(sid: string, callback: (error: unknown, session?: session.SessionData | null) => void): void;
  /** Saves a session; see `onConflict` for what others have changed meanwhile. */
  set(sid: string, data: session.SessionData, callback?: (error?: unknown) => void): void;
  /** Renews the expiry of a session, by its cookie. */
  touch(sid: string, data: session.SessionData, callback?: (error?: unknown) => void): void;
  /** Destroys a session. A slower request does not bring it back. */
  destroy(sid: string, callback?: (error?: unknown) => void): void;
  /** Every session, by its id. The call scans the whole database. */
  all(callback: (error: unknown, sessions?: Record<string, session.SessionData> | null) => void): void;
  /** The number of sessions. The call scans the whole database. */
  length(callback: (error: unknown, length?: number) => void): void;
  /** Destroys every session. The call scans the whole database. */
  clear(callback?: (error?: unknown) => void): void;
  /** The ids of all sessions. The call scans the whole database. */
  ids(callback: (error: unknown, ids?: string[]) => void): void;
  /** As the method of express-session. The made session has no mark, so the application sees only its own data. */
  createSession(req: Parameters<session.Store['createSession']>[0], data: session.SessionData): session.Session & session.SessionData;
}

export {};
