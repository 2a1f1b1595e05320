/// <reference types="node" />
import session from 'express-session';
import { SessionStore, IRedisConnection, SessionStoreOptions } from 'redis-backplane';

/** Options of a {@link BackplaneStore}: those of a `SessionStore` too. Unknown names are refused. */
export interface BackplaneStoreOptions extends SessionStoreOptions {
  /**
   * What becomes of a save when another request has saved the session since this one loaded it. `merge`: each keeps what it changed, by top-level
   * name; where both changed one, the later save counts. `reject`: the save fails with a `SessionConflictError`. `overwrite`: the later save counts for
   * everything, as with connect-redis. Default `merge`.
   */
  onConflict?: 'merge' | 'reject' | 'overwrite' | undefined;
  /**
   * The prefix of another store's keys in the same database, such as `sess:` of connect-redis, without regard to namespaces: a session that is not here
   * is read there, once, and taken over. The other key stays until it expires, so that processes which still use the other store find it;
   * `destroy` deletes it. Default: none.
   */
  importFrom?: string | undefined;
}
/**
 * A session store for express-session; the same object serves @fastify/session. Sessions of requests that run at once are merged, not overwritten;
 * a session that was destroyed is not brought back by a request that is slower.
 *
 * It emits `conflict` (`{ id, reason }`) where a save was dropped because the session was destroyed or lost meanwhile. It emits `disconnect` and
 * `connect` only with `whenAway: 'none'`: express-session then goes on without sessions, and leaves cookies alone.
 *
 * @example
 * app.use(session({ store: new BackplaneStore(manager), secret, resave: false, saveUninitialized: false }));
 */
export declare class BackplaneStore extends session.Store {
  /** The sessions behind it. */
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
  /** Every session, by its id. It costs a walk over the whole database. */
  all(callback: (error: unknown, sessions?: Record<string, session.SessionData> | null) => void): void;
  /** How many sessions there are. It costs a walk over the whole database. */
  length(callback: (error: unknown, length?: number) => void): void;
  /** Destroys every session. It costs a walk over the whole database. */
  clear(callback?: (error?: unknown) => void): void;
  /** The ids of all sessions. It costs a walk over the whole database. */
  ids(callback: (error: unknown, ids?: string[]) => void): void;
  /** As that of express-session; the session it makes is known by itself, and its data is what the application has put in. */
  createSession(req: Parameters<session.Store['createSession']>[0], data: session.SessionData): session.Session & session.SessionData;
}

export {};
