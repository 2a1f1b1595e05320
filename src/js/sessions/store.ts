/** The store of sessions. */

import { checkFlag, checkFunction, checkTtl, checkWhole, MAX_MS, objectOf, optionsOf, refuseUnknown } from '../arguments.js';
import { checkMade, keep } from '../copies.js';
import type { Endpoint } from '../diagnostics.js';
import { configError, RedisError } from '../errors.js';
import { internals, type NumberingTarget } from '../internals.js';
import { Listeners } from '../listeners.js';
import type { Port } from '../port.js';
import type { IRedisConnection } from '../ports.js';
import { Updates } from '../update.js';
import { uuid } from '../uuid.js';

import { Away, type Fallback } from './away.js';
import type { StoredSession } from './backend.js';
import type { CreateSessionOptions, SessionStoreEvents, SessionStoreOptions, WhenAway } from './options.js';
import { type RawSession, RedisSessions, settled, textOf } from './redis.js';
import { type Session, SessionConflictError, type SessionInfo } from './session.js';

const EVENTS = ['degraded', 'restored', 'conflict', 'error'] as const;
const DEFAULT_TTL_SEC = 86_400;
const DEFAULT_LIMIT = 100;

type Data = Record<string, unknown>;

/** The private state of a store; reached by {@link internals}. */
class SessionInternals implements NumberingTarget {
  readonly port: Port;
  readonly handle: number;
  readonly endpoint: Endpoint;
  readonly listeners = new Listeners<SessionStoreEvents>('SessionStore', EVENTS);
  readonly sessions: RedisSessions;
  readonly updates: Updates<Found, RawSession | null>;
  readonly ttlSec: number;
  readonly away: Away | undefined;
  #lastId = 0;

  constructor(manager: IRedisConnection, options: SessionStoreOptions) {
    const { port, handle, endpoint } = manager[internals];
    const { whenAway = 'fail', ...rest } = options;
    this.port = port;
    this.endpoint = endpoint;
    this.ttlSec = options.ttlSec ?? DEFAULT_TTL_SEC;
    const crossing = typeof whenAway === 'object' && whenAway !== null ? { ...whenAway, fallback: undefined } : whenAway;
    const own = port.open('sessions', handle, { ...rest, whenAway: crossing }, this);
    this.sessions = new RedisSessions(port, own);
    // A KV target, because the time limits of the user's functions (`within`) are verbs of the KV store.
    this.handle = port.open('kv', handle, {}, this);
    if (whenAway !== 'fail') {
      const plain = new RedisSessions(port, port.open('sessions', handle, rest, this));
      this.away = new Away({ port, handle: own, plain }, this, this.listeners, fallbackOf(whenAway));
    }
    this.updates = new Updates<Found, RawSession | null>({
      method: 'SessionStore.update',
      createsMissing: false,
      read: async (id, attempt) => {
        const session = await this.sessions.read(id, attempt);
        return session === null ? { text: null } : { text: session.text, session };
      },
      write: async (id, { session }, text) => {
        if (session === undefined) return null;
        if (text === null) {
          await this.sessions.destroy(id);
          return null;
        }
        const written = await this.sessions.save(session, text);
        if (written.word === 'changed') return false;
        // Otherwise the session was destroyed, or lost, while it was changed.
        return written.word === 'saved' ? written.session : null;
      },
    });
  }

  nextId(): number {
    this.#lastId++;
    return this.#lastId;
  }

  /** The result of `redis`. If Redis is away, and the store goes on without it: the result of `instead`. */
  ask<T>(does: 'read' | 'write', redis: () => Promise<T>, instead: (away: Away) => Promise<T>): Promise<T> {
    const { away } = this;
    return away === undefined ? redis() : away.ask(does, redis, () => instead(away));
  }
}

interface Found {
  readonly text: string | null;
  readonly session?: RawSession;
}

/**
 * Sessions by id, such as the state of a user or a dialogue, stored as JSON with a version. A save that comes too late is refused and changes nothing,
 * and no write brings a destroyed session back.
 *
 * Of every method:
 *
 * - An id or a user is a string of 1 to 512 bytes. Sessions expire by the server's clock.
 * - A call whose answer was lost is sent again until `commandTimeoutMs` has passed, and takes effect once.
 * - A bad argument rejects with kind `config`, naming it; data that JSON cannot express with `serialization`, before anything is sent; and any call
 *   with `connection`, `timeout`, `closed` or `overloaded`, unless `whenAway` says otherwise.
 *
 * @example
 * const sessions = new SessionStore<{ cart: string[] }>(manager, { ttlSec: 3_600 });
 * const session = await sessions.create({ cart: [] }, { user: 'ann' });
 * await sessions.save(session, { cart: ['book'] });
 */
export class SessionStore<T extends object = Data> {
  /** @internal */
  declare readonly [internals]: SessionInternals;

  /**
   * Opens nothing: one manager serves any number of stores, and they need no closing.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: SessionStoreOptions) {
    checkMade('SessionStore: manager', 'RedisConnectionManager', manager);
    keep(this, 'SessionStore', new SessionInternals(manager, optionsOf('SessionStore: options', options)));
  }

  /**
   * Creates a session.
   *
   * @throws SessionConflictError with `exists` if there is a session with `options.id`, and with `destroyed` if such a session was destroyed not long
   * ago.
   */
  async create(data: T, options?: CreateSessionOptions): Promise<Session<T>> {
    const own = this[internals];
    const text = textOf('SessionStore.create: data', checkData('create', data));
    const given = optionsOf('SessionStore.create: options', options);
    return own.ask(
      'write',
      async () => {
        const written = await own.sessions.create(text, given);
        return sessionOf<T>(settled('SessionStore.create', written.session?.id ?? given.id ?? '', written));
      },
      async (away) => {
        const { id = uuid(), user, ttlSec = own.ttlSec } = given;
        if ((await away.load(id)) !== null) throw new SessionConflictError('SessionStore.create', id, 'exists');
        const now = Date.now();
        return keepIn<T>(away, { id, version: 0, data: parsed(text), createdAt: now, expiresAt: now + ttlSec * 1000, user });
      },
    );
  }

  /**
   * The session with this id, or `null` if there is none: the session was never created, has expired, was destroyed, or Redis lost it.
   *
   * @param options `touch`: `true`: the read extends the session, at most once in `touchEverySec`. Default true.
   */
  async load(id: string, options?: { touch?: boolean | undefined }): Promise<Session<T> | null> {
    const own = this[internals];
    checkId('load', id);
    const { touch, ...rest } = optionsOf('SessionStore.load: options', options);
    refuseUnknown('SessionStore.load', rest, ['touch']);
    checkFlag('SessionStore.load: touch', touch);
    return own.ask<Session<T> | null>(
      'read',
      async () => {
        const found = await own.sessions.load(id, touch ?? true);
        return found === null ? null : sessionOf<T>(found);
      },
      async (away) => {
        const found = await away.load(id);
        return found === null ? null : fallbackSession<T>(found);
      },
    );
  }

  /**
   * Replaces the data of a session, and extends it.
   *
   * @param session The session as it was loaded, or as the last save returned it. Its version is compared with the version in Redis.
   * @throws SessionConflictError with the reason `changed`, `destroyed` or `gone`. Then nothing was changed.
   */
  async save(session: Session<T>, data: T): Promise<Session<T>> {
    const own = this[internals];
    const { id, version, createdAt } = objectOf('SessionStore.save: session', session);
    checkId('save', id, 'session.id');
    const text = textOf('SessionStore.save: data', checkData('save', data));
    return own.ask(
      'write',
      async () => {
        // The session was created in the fallback. If Redis has a session with the id, it is another session.
        if (version === 0)
          throw new SessionConflictError('SessionStore.save', id, (await own.sessions.load(id, false)) ? 'changed' : 'gone');
        return sessionOf<T>(settled('SessionStore.save', id, await own.sessions.save({ id, version, createdAt }, text)));
      },
      async (away) => {
        const kept = await away.load(id);
        const expiresAt = Math.max(session.expiresAt, Date.now() + own.ttlSec * 1000);
        return keepIn<T>(away, { id, version, data: parsed(text), createdAt, expiresAt, user: kept?.user });
      },
    );
  }

  /**
   * Changes the data of a session by a function; no concurrent update is lost.
   *
   * @param change Gets the present data; returns the next data, or `null` to destroy the session. It may be called several times and must have no side
   * effects. It is synchronous: a promise is refused.
   * @returns The session, or `null` if there is none, or if it was destroyed.
   * @throws The error of `change`; RedisError of kind `timeout`, delivery `rejected`, when other writers were faster ten times.
   */
  async update(id: string, change: (data: T) => T | null): Promise<Session<T> | null> {
    const own = this[internals];
    checkId('update', id);
    checkFunction('SessionStore.update: change', change);
    return own.ask<Session<T> | null>(
      'write',
      async () => {
        const { value, found, written } = await own.updates.update(id, change as (data: unknown) => unknown);
        const now = written === undefined ? found.session : written;
        return now === undefined || now === null || value === null ? null : sessionOf<T>(now);
      },
      async (away) => {
        const found = await away.load(id);
        if (found === null) return null;
        const next = change(structuredClone(found.data) as T);
        if (next === null) {
          await away.destroy(id);
          return null;
        }
        return keepIn<T>(away, { ...found, data: parsed(textOf('SessionStore.update: value', next)) });
      },
    );
  }

  /**
   * Extends a session, up to its absolute end.
   *
   * @param ttlSec Seconds that the session lasts from now on, and after each later use. Default: as before.
   * @returns `false` if there is no such session.
   */
  async touch(id: string, ttlSec?: number): Promise<boolean> {
    const own = this[internals];
    checkId('touch', id);
    if (ttlSec !== undefined) checkTtl('SessionStore.touch: ttlSec', ttlSec);
    return own.ask(
      'write',
      () => own.sessions.touch(id, ttlSec, true),
      async (away) => {
        const found = await away.load(id);
        if (found !== null) await away.save({ ...found, expiresAt: Date.now() + (ttlSec ?? own.ttlSec) * 1000 });
        return found !== null;
      },
    );
  }

  /** Destroys a session with its messages. A later save is refused. `false`: there was no such session. */
  async destroy(id: string): Promise<boolean> {
    const own = this[internals];
    checkId('destroy', id);
    return own.ask(
      'write',
      () => own.sessions.destroy(id),
      (away) => away.destroy(id),
    );
  }

  /**
   * Gives a session a new id, and destroys the old id, so that an attacker who knows the old id gains nothing after a login. Data, messages, user and
   * absolute end stay. `null`: there is no such session.
   */
  async regenerate(id: string): Promise<Session<T> | null> {
    const own = this[internals];
    checkId('regenerate', id);
    return own.ask<Session<T> | null>(
      'write',
      async () => {
        const regenerated = await own.sessions.regenerate(id);
        return regenerated === null ? null : sessionOf<T>(regenerated);
      },
      async (away) => {
        const found = await away.load(id);
        if (found === null) return null;
        const session = await keepIn<T>(away, { ...found, id: uuid(), version: 0 });
        await away.destroy(id);
        return session;
      },
    );
  }

  /**
   * Puts a message in front of a session's messages, drops all but the newest `limit` messages, and extends the session, at most once in
   * `touchEverySec`. The data and their version stay.
   *
   * @param options `limit`: a whole number from 1 to 10 000. Default 100.
   * @returns The number of messages now; 0 if there is no session, and the message was not kept.
   */
  async append<M>(id: string, message: M, options?: { limit?: number | undefined }): Promise<number> {
    const own = this[internals];
    checkId('append', id);
    const { limit = DEFAULT_LIMIT, ...rest } = optionsOf('SessionStore.append: options', options);
    refuseUnknown('SessionStore.append', rest, ['limit']);
    const text = textOf('SessionStore.append: message', message);
    return own.ask(
      'write',
      () => own.sessions.append(id, text, limit),
      async () => 0,
    );
  }

  /** The newest messages, newest first; an empty array if there is no session. `limit` is a whole number from 1 to 10 000. */
  async recent<M = unknown>(id: string, limit: number): Promise<M[]> {
    const own = this[internals];
    checkId('recent', id);
    return own.ask(
      'read',
      async () => (await own.sessions.recent(id, limit)).map((text) => parsed(text) as M),
      async () => [],
    );
  }

  /** The sessions that were created with this user, in no particular order. The cost grows with the number of the user's sessions. */
  async ofUser(user: string): Promise<SessionInfo[]> {
    const own = this[internals];
    checkId('ofUser', user, 'user');
    return own.ask(
      'read',
      async () => (await own.sessions.ofUser(user)).map(({ text: _, ...info }) => info),
      async () => [],
    );
  }

  /**
   * Destroys the sessions of a user, including sessions that are being created meanwhile. While Redis is away the call rejects, whatever `whenAway`
   * is, because only Redis knows all sessions of the user.
   *
   * @param options `except`: the id of a session that stays.
   * @returns The number of destroyed sessions.
   */
  async destroyOfUser(user: string, options?: { except?: string | undefined }): Promise<number> {
    const { sessions } = this[internals];
    checkId('destroyOfUser', user, 'user');
    return sessions.destroyOfUser(user, optionsOf('SessionStore.destroyOfUser: options', options));
  }

  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof SessionStoreEvents>(event: E, listener: (...args: SessionStoreEvents[E]) => unknown): this {
    this[internals].listeners.add(event, listener);
    return this;
  }

  /** Removes a listener. */
  off<E extends keyof SessionStoreEvents>(event: E, listener: (...args: SessionStoreEvents[E]) => unknown): this {
    this[internals].listeners.remove(event, listener);
    return this;
  }
}

/** A session from Redis. The caller vouches for the type of the data, as with `new SessionStore<T>()`. */
function sessionOf<T extends object>({ id, version, text, createdAt, expiresAt }: RawSession): Session<T> {
  return { id, version, data: parsed(text) as T, createdAt, expiresAt, from: 'redis' };
}

function fallbackSession<T extends object>({ id, version, data, createdAt, expiresAt }: StoredSession): Session<T> {
  return { id, version, data: structuredClone(data) as T, createdAt, expiresAt, from: 'fallback' };
}

async function keepIn<T extends object>(away: Away, session: StoredSession): Promise<Session<T>> {
  await away.save(session);
  return fallbackSession<T>(session);
}

/** Parses stored data. Throws kind `serialization` if another program has written text that is not JSON. */
function parsed(text: string): object {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RedisError('serialization', 'session: expected JSON, got other text', { delivery: 'rejected', cause });
  }
}

function checkData<T>(method: string, data: T): T {
  if (typeof data === 'object' && data !== null) return data;
  throw configError(`SessionStore.${method}: data`, 'an object', data);
}

/** Refuses an id with a lone surrogate, which UTF-8 cannot express. Rust checks the length. */
function checkId(method: string, id: unknown, name = 'id'): void {
  if (typeof id === 'string' && id.isWellFormed()) return;
  throw configError(`SessionStore.${method}: ${name}`, 'a well-formed string of 1 to 512 bytes', id);
}

function fallbackOf(whenAway: Exclude<WhenAway, 'fail'>): Fallback {
  if (whenAway === 'none') return {};
  const { fallback, onReturn, timeoutMs } = whenAway;
  const backend = objectOrInstance(fallback);
  for (const method of ['load', 'save', 'destroy', 'entries'] as const) {
    if (typeof backend[method] !== 'function') throw configError(`SessionStore.whenAway.fallback.${method}`, 'a function', backend[method]);
  }
  if (timeoutMs !== undefined) checkWhole('SessionStore.whenAway.timeoutMs', timeoutMs, 1, MAX_MS);
  return { backend: fallback, onReturn, timeoutMs };
}

function objectOrInstance<B extends object>(backend: B): B {
  if (typeof backend === 'object' && backend !== null) return backend;
  throw configError('SessionStore.whenAway.fallback', 'a SessionBackend', backend);
}
