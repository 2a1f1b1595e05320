/** The store that keeps sessions while Redis is away. */

import { checkWhole, optionsOf, refuseUnknown } from '../arguments.js';

/** A session as a {@link SessionBackend} keeps it. It is plain JSON. */
export interface StoredSession {
  /** The id of the session. */
  readonly id: string;
  /** The version in Redis on which this session is based; 0: the session was created without Redis. */
  readonly version: number;
  /** The data of the session. */
  readonly data: object;
  /** When the session was created, in milliseconds since 1970; by the server's clock if `version` is above 0. */
  readonly createdAt: number;
  /** When the session ends, in milliseconds since 1970, by the clock of this process. */
  readonly expiresAt: number;
  /** The user that it was created for. */
  readonly user?: string | undefined;
}

/**
 * Keeps sessions while Redis is away: in memory ({@link memorySessions}), or in a database of your own, which several processes can share. Each method
 * may return a promise, which must settle within `timeoutMs`.
 */
export interface SessionBackend {
  /** The session with this id; `null` or `undefined` if there is none. */
  load(id: string): StoredSession | null | undefined | Promise<StoredSession | null | undefined>;
  /** Keeps a session. An earlier session with the same id is replaced. */
  save(session: StoredSession): void | Promise<void>;
  /** Deletes a session. Returns `true` if there was one. */
  destroy(id: string): boolean | Promise<boolean>;
  /** All sessions. A session may be destroyed during the iteration. */
  entries(): AsyncIterable<StoredSession> | Iterable<StoredSession>;
}

/** Options of {@link memorySessions}. Unknown names are refused. */
export interface MemorySessionsOptions {
  /** The most sessions that are kept. Beyond this number the session that was saved longest ago is dropped. A whole number from 1. Default 10 000. */
  max?: number | undefined;
}

const DEFAULT_MAX = 10_000;

/**
 * A {@link SessionBackend} in the memory of this process. Other processes do not see its sessions.
 *
 * @throws RedisError of kind `config`, naming the option.
 */
export function memorySessions(options?: MemorySessionsOptions): SessionBackend {
  const { max = DEFAULT_MAX, ...rest } = optionsOf('memorySessions: options', options);
  refuseUnknown('memorySessions', rest, ['max']);
  checkWhole('memorySessions: max', max, 1);
  const sessions = new Map<string, StoredSession>();
  return {
    load(id) {
      const session = sessions.get(id);
      if (session !== undefined && session.expiresAt <= Date.now()) sessions.delete(id);
      return sessions.get(id);
    },
    save(session) {
      // Deleted first, so that the session moves to the end of the map: the first entry is then the oldest.
      sessions.delete(session.id);
      // A copy, so that a later change of the caller's object does not change the saved session.
      sessions.set(session.id, structuredClone(session));
      for (const oldest of sessions.keys()) {
        if (sessions.size <= max) break;
        sessions.delete(oldest);
      }
    },
    destroy: (id) => sessions.delete(id),
    entries: () => sessions.values(),
  };
}
