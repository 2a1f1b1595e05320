/** What keeps sessions while Redis is away. */

import { checkWhole, optionsOf, refuseUnknown } from '../arguments.js';

/** A session as a {@link SessionBackend} keeps it. It is plain JSON. */
export interface StoredSession {
  /** The id of the session. */
  readonly id: string;
  /** The version in Redis that it is based on; 0: it was created without Redis. */
  readonly version: number;
  /** The data of the session. */
  readonly data: object;
  /** Milliseconds since 1970. Of one with a version: by the server's clock. */
  readonly createdAt: number;
  /** Milliseconds since 1970, by the clock of this process. */
  readonly expiresAt: number;
  /** The user that it was created for. */
  readonly user?: string | undefined;
}

/**
 * Keeps sessions while Redis is away: in memory ({@link memorySessions}), or in a database of your own, which several processes can share. Each
 * method may return a promise, and has `timeoutMs`.
 */
export interface SessionBackend {
  /** The session with this id, or `null` or `undefined`. */
  load(id: string): StoredSession | null | undefined | Promise<StoredSession | null | undefined>;
  /** Keeps a session; an earlier one with the same id is replaced. */
  save(session: StoredSession): void | Promise<void>;
  /** Deletes a session. Says whether there was one. */
  destroy(id: string): boolean | Promise<boolean>;
  /** All that it keeps. Each may be destroyed while it goes on. */
  entries(): AsyncIterable<StoredSession> | Iterable<StoredSession>;
}

/** Options of {@link memorySessions}. Unknown names are refused. */
export interface MemorySessionsOptions {
  /** The most sessions that are kept; the one that was saved longest ago goes first. A whole number from 1. Default 10 000. */
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
      // Once more at the end, which makes the first the oldest.
      sessions.delete(session.id);
      // As another store would give it back: what its owner changes later is not saved yet.
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
