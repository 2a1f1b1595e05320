/** What a session is to its user, and the error of a write that came too late. */

import { RedisError } from '../errors.js';

/** A session as it was when it was loaded or written. */
export interface Session<T extends object = Record<string, unknown>> {
  /** The id of the session, as in a cookie. */
  readonly id: string;
  /** Grows by one with each save, from 1. Of a session of the fallback: the version in Redis that it is based on; 0 if there was none. */
  readonly version: number;
  /** The data of the session. */
  readonly data: T;
  /** Milliseconds since 1970, by the server's clock. */
  readonly createdAt: number;
  /** Milliseconds since 1970, by the server's clock: when it ends unless it is loaded, saved or touched. */
  readonly expiresAt: number;
  /** Where it came from: see `whenAway`. */
  readonly from: 'redis' | 'fallback';
}

/** A session without its data. */
export interface SessionInfo {
  /** The id of the session, as in a cookie. */
  readonly id: string;
  /** Grows by one with each save, from 1. */
  readonly version: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly createdAt: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly expiresAt: number;
}

/**
 * Why a write was refused. `changed`: somebody else saved the session since it was loaded. `destroyed`: it was destroyed. `gone`: it has expired, or
 * Redis lost it. `exists`: there is a session with the id that was to be created.
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
