/** The options and the events of a store of sessions. */

import type { RedisError } from '../errors.js';
import type { SessionBackend } from './backend.js';
import type { SessionConflict } from './session.js';

/**
 * How a store answers while Redis is away.
 *
 * - `'fail'`: calls reject once `commandTimeoutMs` has passed, as for every other class.
 * - `'none'`: there are no sessions. `load` and `update` return `null`, `touch`, `destroy` and `append` return `false` or 0, `recent` and `ofUser`
 * return
 *   an empty array; `create` and `save` return a session that is kept nowhere. Destroyed sessions are destroyed in Redis when Redis is back.
 * - A fallback: sessions are read from the fallback and written to it.
 */
export type WhenAway =
  | 'fail'
  | 'none'
  | {
      fallback: SessionBackend;
      /** Milliseconds without a usable connection after which calls are answered without Redis. A whole number from 0. Default 200. */
      afterMs?: number | undefined;
      /**
       * What happens to the sessions of the fallback when Redis is back. `newest`: each session is saved to Redis, unless the session in Redis has
       * changed meanwhile: then the session in Redis stays, and `conflict` is emitted. `discard`: the sessions are dropped, and `restored` reports
       * their number.
       */
      onReturn: 'discard' | 'newest';
      /** How long a method of the fallback may take, in milliseconds. A whole number from 1. Default 5 000. */
      timeoutMs?: number | undefined;
    };

/** Options of a {@link SessionStore}. Unknown names are refused. */
export interface SessionStoreOptions {
  /** A prefix of every key of this store, inside the manager's namespace, as for a `KVStore`. Default: none. */
  namespace?: string | undefined;
  /** Seconds that a session lasts after it was loaded, saved or touched; fractions allowed, from 0.001 to 315 360 000. Default 86 400, a day. */
  ttlSec?: number | undefined;
  /** Seconds after its creation at which a session ends even if it is used. The range is that of `ttlSec`. Default: none. */
  absoluteTtlSec?: number | undefined;
  /**
   * How often reading a session extends it, in seconds, so that not every read must write. If a quarter of `ttlSec` is shorter, that quarter counts.
   * From 0 to 315 360 000. Default 60.
   */
  touchEverySec?: number | undefined;
  /** The most bytes of a session's data, and of a message, as JSON; larger values are refused before sending. 1 to 67 108 864. Default 262 144. */
  maxBytes?: number | undefined;
  /** How the store answers while Redis is away. Default `'fail'`. */
  whenAway?: WhenAway | undefined;
}

/** Options of {@link SessionStore.create}. Unknown names are refused. */
export interface CreateSessionOptions {
  /** The id: 1 to 512 bytes. Default: a new id, with 122 random bits. */
  id?: string | undefined;
  /** The user of the session, for {@link SessionStore.ofUser}: 1 to 512 bytes. Default: none. */
  user?: string | undefined;
  /** Seconds that this session lasts after it was loaded, saved or touched. Default: the store's. */
  ttlSec?: number | undefined;
}

/** The events of a {@link SessionStore}, with the arguments of their listeners. */
export interface SessionStoreEvents {
  /** Redis is away, and a call was answered without Redis. Emitted once until `restored`. */
  degraded: [error: RedisError];
  /**
   * Redis is back. The numbers of the fallback's sessions that were saved to Redis, refused as conflicts, and dropped; and the number of sessions that
   * were destroyed in Redis.
   */
  restored: [summary: { saved: number; conflicts: number; discarded: number; destroyed: number }];
  /** A write whose caller no longer waits was refused. The session in Redis stays as it is. */
  conflict: [conflict: { id: string; reason: SessionConflict }];
  /** The fallback failed, or a session of the fallback could not be saved to Redis. */
  error: [error: RedisError];
}
