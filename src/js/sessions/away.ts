/**
 * The answers of a store while Redis is away (`whenAway`).
 *
 * The native side notices when Redis is away. From then on it refuses calls, with delivery `not-sent`. Only refused calls, and reads, which change
 * nothing, are answered here. When Redis answers again, the sessions that were kept meanwhile are brought back through a second native store, which is
 * never refused. Only after that do calls go to Redis again.
 */

import { RedisError } from '../errors.js';
import type { NumberingTarget } from '../internals.js';
import type { Listeners } from '../listeners.js';
import { verbs } from '../native.js';
import type { EventHandler, Port } from '../port.js';
import { within } from '../within.js';
import type { SessionBackend, StoredSession } from './backend.js';
import type { SessionStoreEvents } from './options.js';
import { type RedisSessions, textOf } from './redis.js';
import type { SessionConflict } from './session.js';

const V = verbs('sessions', 'degraded', 'back', 'resume');

const DEFAULT_TIMEOUT_MS = 5_000;
/** The most destroyed sessions that are remembered. Beyond this number the oldest is forgotten, and `error` is emitted. */
const MOST_DESTROYED = 100_000;
/** The error codes of a server that serves no keys for a time. */
const UNAVAILABLE: readonly (string | undefined)[] = ['LOADING', 'CLUSTERDOWN', 'MASTERDOWN'];

/** The option `whenAway`, for a store that goes on without Redis. */
export interface Fallback {
  /** `undefined`: no sessions are kept (`'none'`). */
  readonly backend?: SessionBackend | undefined;
  readonly timeoutMs?: number | undefined;
  readonly onReturn?: 'discard' | 'newest' | undefined;
}

/** The stores that must still bring sessions back. The set keeps them from being garbage-collected meanwhile. */
const returning = new Set<object>();

/** The part of a store that answers calls while Redis is away. */
export class Away {
  readonly #port: Port;
  readonly #handle: number;
  readonly #target: NumberingTarget;
  /** A second native store, whose calls are not refused while Redis is away. */
  readonly #plain: RedisSessions;
  readonly #listeners: Listeners<SessionStoreEvents>;
  readonly #fallback: Fallback;
  readonly #onEvent: EventHandler = (event) => {
    if (event.event === 'away') this.#startReturn();
  };
  /** The ids of the sessions that were destroyed while Redis was away. */
  readonly #destroyed = new Set<string>();
  #isDegraded = false;
  #isReturning = false;
  /** The number of saves and destructions that were kept for Redis so far. */
  #kept = 0;

  constructor(
    native: { port: Port; handle: number; plain: RedisSessions },
    target: NumberingTarget,
    listeners: Listeners<SessionStoreEvents>,
    fallback: Fallback,
  ) {
    this.#port = native.port;
    this.#handle = native.handle;
    this.#plain = native.plain;
    this.#target = target;
    this.#listeners = listeners;
    this.#fallback = fallback;
    native.port.listenWeakly(native.handle, this.#onEvent);
  }

  /** The result of `redis`. If Redis is away and cannot have executed the call: the result of `instead`. */
  async ask<T>(does: 'read' | 'write', redis: () => Promise<T>, instead: () => Promise<T>): Promise<T> {
    try {
      return await redis();
    } catch (error) {
      if (!(error instanceof RedisError) || !isAway(error) || (does === 'write' && error.delivery === 'maybe-executed')) throw error;
      this.#degrade(error);
      this.#startReturn();
      this.#port.post(this.#handle, V.degraded, []);
      return instead();
    }
  }

  load(id: string): Promise<StoredSession | null> {
    const { backend } = this.#fallback;
    if (backend === undefined || this.#destroyed.has(id)) return Promise.resolve(null);
    return this.#bounded('load', async () => {
      const found = (await backend.load(id)) ?? null;
      return found !== null && found.expiresAt > Date.now() ? found : null;
    });
  }

  async save(session: StoredSession): Promise<void> {
    this.#kept++;
    const { backend } = this.#fallback;
    if (backend !== undefined) await this.#bounded('save', async () => backend.save(session));
  }

  /** Destroys a session in the fallback now, and in Redis when Redis is back. */
  async destroy(id: string): Promise<boolean> {
    this.#kept++;
    this.#destroyed.add(id);
    for (const oldest of this.#destroyed) {
      if (this.#destroyed.size <= MOST_DESTROYED) break;
      this.#destroyed.delete(oldest);
      const message = `SessionStore: more than ${MOST_DESTROYED} sessions were destroyed while Redis was away: one of them is forgotten`;
      this.#listeners.emit('error', new RedisError('overloaded', message));
    }
    return this.#forget(id);
  }

  async #forget(id: string): Promise<boolean> {
    const { backend } = this.#fallback;
    return backend === undefined ? false : this.#bounded('destroy', async () => (await backend.destroy(id)) === true);
  }

  #degrade(error: RedisError): void {
    if (this.#isDegraded) return;
    this.#isDegraded = true;
    returning.add(this);
    if (!this.#listeners.has('degraded')) {
      const message = `SessionStore: Redis is away, and calls are answered without it (whenAway); listen to 'degraded' to hear of it: ${error.message}`;
      process.emitWarning(message, 'RedisSessionWarning');
    }
    this.#listeners.emit('degraded', error);
  }

  /** Starts to wait for Redis, unless the store waits already. */
  #startReturn(): void {
    if (this.#isReturning) return;
    this.#isReturning = true;
    returning.add(this);
    void this.#return();
  }

  /** Waits until Redis is back, and brings the kept sessions back. Never rejects. */
  async #return(): Promise<void> {
    const summary = { saved: 0, conflicts: 0, discarded: 0, destroyed: 0 };
    let kept: number;
    let isAwayAgain: boolean;
    let isBack = false;
    do {
      kept = this.#kept;
      isAwayAgain = false;
      try {
        isBack = (await this.#port.callQuietly(this.#handle, V.back)) as boolean;
        if (isBack && this.#isDegraded) await this.#restore(summary);
      } catch (error) {
        isAwayAgain = error instanceof RedisError && isAway(error);
        if (!isAwayAgain) this.#listeners.emit('error', asRedisError(error));
      }
      // The call fails only when the process ends.
      await this.#port.callQuietly(this.#handle, V.resume).catch(() => {});
      // Once more if a call was refused before `resume` and its session was kept after the last round.
    } while (isAwayAgain || this.#kept !== kept);
    this.#isReturning = false;
    returning.delete(this);
    if (!this.#isDegraded) return;
    this.#isDegraded = false;
    // If the manager was disconnected, Redis is not back, and the fallback keeps its sessions.
    if (isBack) this.#listeners.emit('restored', summary);
  }

  async #restore(summary: SessionStoreEvents['restored'][0]): Promise<void> {
    for (const id of this.#destroyed) {
      if (await this.#plain.destroy(id)) summary.destroyed++;
      this.#destroyed.delete(id);
    }
    const { backend, onReturn } = this.#fallback;
    if (backend === undefined) return;
    const entries = backend.entries();
    const walk = Symbol.asyncIterator in entries ? entries[Symbol.asyncIterator]() : entries[Symbol.iterator]();
    for (;;) {
      const next = await this.#bounded('entries', async () => walk.next());
      if (next.done === true) return;
      if (onReturn === 'discard') summary.discarded++;
      else if (next.value.expiresAt > Date.now()) await this.#restoreOne(next.value, summary);
      await this.#forget(next.value.id);
    }
  }

  async #restoreOne(entry: StoredSession, summary: SessionStoreEvents['restored'][0]): Promise<void> {
    const { id, version, createdAt, user } = entry;
    const text = textOf('SessionStore: fallback', entry.data);
    const ttlSec = Math.max(0.001, (entry.expiresAt - Date.now()) / 1000);
    const { word } =
      version === 0
        ? await this.#plain.create(text, { id, user, ttlSec })
        : await this.#plain.save({ id, version, createdAt }, text, ttlSec);
    if (word === 'created' || word === 'saved') {
      summary.saved++;
    } else {
      summary.conflicts++;
      this.#listeners.emit('conflict', { id, reason: word as SessionConflict });
    }
  }

  /** The result of a method of the user's backend, or an error after `timeoutMs`. */
  #bounded<T>(method: string, work: () => Promise<T>): Promise<T> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = this.#fallback;
    return within(this.#target, timeoutMs, work(), () => {
      const message = `SessionStore: whenAway.fallback.${method} took longer than timeoutMs, ${timeoutMs} ms`;
      return new RedisError('timeout', message, { delivery: 'maybe-executed' });
    });
  }
}

/** Does the error mean that Redis is away? */
function isAway({ redisErrorKind: kind, serverCode }: RedisError): boolean {
  return kind === 'connection' || kind === 'timeout' || (kind === 'server' && UNAVAILABLE.includes(serverCode));
}

function asRedisError(error: unknown): RedisError {
  if (error instanceof RedisError) return error;
  return new RedisError('config', 'SessionStore: whenAway.fallback: expected sessions, got an error', { cause: error });
}
