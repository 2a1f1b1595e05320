/** A session, and the error of a write that came too late. */

import { RedisError } from '../errors.js';

/** A session as it was when it was loaded or written. */
export interface Session<T extends object = Record<string, unknown>> {
  /** The id of the session, as in a cookie. */
  readonly id: string;
  /** Starts at 1 and grows by one with each save. For a session of the fallback: the version in Redis on which it is based; 0 if there was none. */
  readonly version: number;
  /** The data of the session. */
  readonly data: T;
  /** When the session was created, in milliseconds since 1970, by the server's clock. */
  readonly createdAt: number;
  /** When the session ends unless it is loaded, saved or touched, in milliseconds since 1970, by the server's clock. */
  readonly expiresAt: number;
  /** Where the session was read or written: in Redis, or in the fallback of `whenAway`. */
  readonly from: 'redis' | 'fallback';
}

/** A session without its data. */
export interface SessionInfo {
  /** The id of the session, as in a cookie. */
  readonly id: string;
  /** Grows by one with each save, from 1. */
  readonly version: number;
  /** When the session was created, in milliseconds since 1970, by the server's clock. */
  readonly createdAt: number;
  /** When the session ends unless it is used, in milliseconds since 1970, by the server's clock. */
  readonly expiresAt: number;
}

/**
 * Why a write was refused. `changed`: another writer has saved the session since it was loaded. `destroyed`: the session was destroyed. `gone`: the
 * session has expired, or Redis lost it. `exists`: there is already a session with the id that was to be created.
 */
export type SessionConflict = 'changed' | 'destroyed' | 'gone' | 'exists';

const brand = Symbol.for('redis-backplane.SessionConflictError');

/**
 * The error of a write that came too late; kind `conflict`. Nothing was changed.
 *
 * @example
 * try {
 *   await sessions.save(session, { ...session.data, cart });
 * } catch (error) {
 *   if (error instanceof SessionConflictError && error.reason === 'changed') return retry();
 *   throw error;
 * }
 */
export class SessionConflictError extends RedisError {
  /** The id of the session. */
  readonly sessionId: string;
  /** Why the write was refused. */
  readonly reason: SessionConflict;

  constructor(method: string, sessionId: string, reason: SessionConflict) {
    super('conflict', `${method}: ${WHY[reason]}`, { delivery: 'rejected' });
    this.name = 'SessionConflictError';
    this.sessionId = sessionId;
    this.reason = reason;
    Object.defineProperty(this, brand, { value: true });
  }

  /** True for an error of any copy of this package, in any VM context. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && brand in value;
  }
}

const WHY: Record<SessionConflict, string> = {
  changed: 'somebody else saved the session after it was loaded',
  destroyed: 'the session was destroyed',
  gone: 'the session has expired, or Redis lost it',
  exists: 'there is a session with this id',
};
