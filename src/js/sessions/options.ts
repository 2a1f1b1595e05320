/** Options of a store of sessions, and its events. */

import type { RedisError } from '../errors.js';
import type { SessionBackend } from './backend.js';
import type { SessionConflict } from './session.js';

/**
 * What a store does while Redis is away.
 *
 * - `'fail'`: calls reject, as those of every other class, once `commandTimeoutMs` has passed.
 * - `'none'`: there are no sessions. `load` and `update` give `null`, `touch`, `destroy` and `append` give `false` or 0, `recent` and `ofUser` an empty array; `create`
 *   and `save` give a session that is kept nowhere. What is destroyed is destroyed when Redis is back.
 * - A fallback: sessions are read from and written to it.
 */
export type WhenAway =
  | 'fail'
  | 'none'
  | {
      fallback: SessionBackend;
      /** Milliseconds without a usable connection after which calls go without Redis. A whole number from 0. Default 200. */
      afterMs?: number | undefined;
      /**
       * What becomes of the sessions of the fallback when Redis is back. `newest`: each is saved at the version that it is based on; where somebody else was
       * faster, theirs stays, and `conflict` is emitted. `discard`: they are dropped, and `restored` says how many.
       */
      onReturn: 'discard' | 'newest';
      /** Milliseconds that a method of the fallback may take. A whole number from 1. Default 5 000. */
      timeoutMs?: number | undefined;
    };

/** Options of a {@link SessionStore}. Unknown names are refused. */
export interface SessionStoreOptions {
  /** As that of a `KVStore`: a prefix of every key, inside the manager's namespace. Default: none. */
  namespace?: string | undefined;
  /** Seconds that a session lasts after it was loaded, saved or touched; fractions allowed, from 0.001 to 315 360 000. Default 86 400, a day. */
  ttlSec?: number | undefined;
  /** Seconds after its creation at which a session ends whatever happens. As `ttlSec`. Default: none. */
  absoluteTtlSec?: number | undefined;
  /**
   * Seconds after which reading a session extends it again, so that not every read writes. Sooner if a quarter of `ttlSec` has passed. From 0 to
   * 315 360 000. Default 60.
   */
  touchEverySec?: number | undefined;
  /** The most bytes of JSON of a session's data, and of a message; more is refused before anything is sent. 1 to 67 108 864. Default 262 144. */
  maxBytes?: number | undefined;
  /** What to do while Redis is away. Default `'fail'`. */
  whenAway?: WhenAway | undefined;
}

/** Options of {@link SessionStore.create}. Unknown names are refused. */
export interface CreateSessionOptions {
  /** 1 to 512 bytes. Default: a new one, with 122 random bits. */
  id?: string | undefined;
  /** Whose it is, for {@link SessionStore.ofUser}. 1 to 512 bytes. Default: nobody's. */
  user?: string | undefined;
  /** Seconds that this session lasts after it was loaded, saved or touched. Default: the store's. */
  ttlSec?: number | undefined;
}

/** What the listeners of a {@link SessionStore} are given. */
export interface SessionStoreEvents {
  /** Redis is away, and a call was answered without it. Once until `restored`. */
  degraded: [error: RedisError];
  /** Redis is back: how many sessions of the fallback were saved there, were refused as conflicts, and were dropped; how many were destroyed. */
  restored: [summary: { saved: number; conflicts: number; discarded: number; destroyed: number }];
  /** A write that no caller waits for any more was refused; what Redis has stays. */
  conflict: [conflict: { id: string; reason: SessionConflict }];
  /** The fallback failed, or Redis refused what was to be brought back. */
  error: [error: RedisError];
}
