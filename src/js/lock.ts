/** Locks with fencing tokens: who holds one, and how it is lost. */

import { cancelled, checkSignal, optionsOf, refuseUnknown } from './arguments.js';
import { RedisError } from './errors.js';
import type { Internals } from './internals.js';
import { verb } from './native.js';

/** Options of {@link KVStore.lock}. */
export interface LockOptions {
  /**
   * Milliseconds, from 100 to 2 147 483 647: how long others are kept out after this process is gone. While it lives the lease is
   * renewed every third of it. Default 30 000.
   */
  leaseMs?: number;
  /** Milliseconds to wait for a lock that another one holds, from 0. Default 0: try once. */
  waitMs?: number;
  /** Ends the wait, with kind `cancelled`. It does not touch a lock that is held. */
  signal?: AbortSignal;
}

/** A lock that is held. */
export interface Lock {
  /** The key it was taken by. */
  readonly key: string;
  /**
   * The fencing token: whoever takes the lock later has a larger one, also after a lease that ran out and after `FLUSHALL` (as long as
   * the server's clock does not go back). Give it along with writes to other systems, and have them refuse a smaller one than the
   * largest they saw: a holder that was stopped for longer than its lease can do no harm then.
   */
  readonly token: number;
  /**
   * Aborted when the lock is lost: its lease ran out unconfirmed, another one holds it, or the manager was disconnected. Its reason
   * is a `RedisError` of kind `lease-lost`. It is not aborted by {@link release}.
   */
  readonly signal: AbortSignal;
  /**
   * Renews the lease now, and from now on for `leaseMs` each time.
   *
   * @param leaseMs Milliseconds, from 100. Default: what the lock was taken with.
   * @throws RedisError of kind `lease-lost` if it is not held any more; `connection`, `timeout`, … if the server could not be asked
   * (the lock is held on until its lease runs out).
   */
  extend(leaseMs?: number): Promise<void>;
  /**
   * Gives the lock back.
   *
   * @returns `false` if it was not held any more.
   * @throws RedisError of kind `connection`, `timeout`, … if the server could not be asked; it is renewed no more and runs out.
   */
  release(): Promise<boolean>;
  /** The same as {@link release}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a lock needs of its store. */
export interface LockHome extends Internals {
  nextId(): number;
}

const LOCK = verb('kv.lock');
const CANCEL = verb('kv.lockCancel');
const LOST = verb('kv.lockLost');
const EXTEND = verb('kv.lockExtend');
const RELEASE = verb('kv.lockRelease');

class HeldLock implements Lock {
  readonly key: string;
  readonly token: number;
  readonly #home: LockHome;
  readonly #id: number;
  readonly #leaseMs: number | undefined;
  readonly #controller = new AbortController();

  constructor(home: LockHome, id: number, key: string, token: number, leaseMs: number | undefined) {
    this.#home = home;
    this.#id = id;
    this.key = key;
    this.token = token;
    this.#leaseMs = leaseMs;
    // Holding a lock does not keep the process alive.
    home.port.callQuietly(home.handle, LOST, id).catch((error: unknown) => this.#controller.abort(error));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  async extend(leaseMs: number | undefined = this.#leaseMs): Promise<void> {
    await this.#home.port.call(this.#home.handle, EXTEND, this.#id, leaseMs);
  }

  async release(): Promise<boolean> {
    return (await this.#home.port.call(this.#home.handle, RELEASE, this.#id)) as boolean;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** Takes the lock `key`. */
export async function takeLock(home: LockHome, key: string, options: LockOptions | undefined): Promise<Lock> {
  const { leaseMs, waitMs, signal, ...rest } = optionsOf('KVStore.lock: options', options);
  refuseUnknown('KVStore.lock', rest, ['leaseMs', 'waitMs', 'signal']);
  checkSignal('KVStore.lock: signal', signal);
  if (signal?.aborted) throw cancelled('KVStore.lock', signal);
  const id = home.nextId();
  const cancel = (): void => {
    // A wait that has just ended has nothing to cancel.
    home.port.callQuietly(home.handle, CANCEL, id).catch(() => {});
  };
  signal?.addEventListener('abort', cancel, { once: true });
  let token: number;
  try {
    token = (await home.port.call(home.handle, LOCK, id, key, leaseMs, waitMs)) as number;
  } catch (error) {
    if (error instanceof RedisError && error.redisErrorKind === 'cancelled') throw cancelled('KVStore.lock', signal);
    throw error;
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
  const lock = new HeldLock(home, id, key, token, leaseMs);
  if (signal?.aborted) {
    // Nobody waits for it any more. If it cannot be given back now it runs out.
    await lock.release().catch(() => {});
    throw cancelled('KVStore.lock', signal);
  }
  return lock;
}
