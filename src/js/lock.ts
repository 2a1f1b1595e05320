/** Locks with fencing tokens. */

import { acquire } from './acquire.js';
import { debugEvent, isDebugging } from './debug.js';
import type { Internals, NumberingTarget } from './internals.js';
import { verbs } from './native.js';

/** Options of {@link KVStore.lock}. */
export interface LockOptions {
  /**
   * Milliseconds, from 100 to 2 147 483 647: how long the lock stays taken after this process is gone. While the process lives, the lease is renewed
   * every third of that time. Default 30 000.
   */
  leaseMs?: number | undefined;
  /**
   * Milliseconds, from 0, to wait for a lock that is held, or for a server that does not answer (but at least 250). Default 0: try once, for
   * `commandTimeoutMs`. Callers in one process get the lock in the order of their calls.
   */
  waitMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. It does not touch a lock that is held. */
  signal?: AbortSignal | undefined;
}

/** A lock that is held. */
export interface Lock {
  /** The key that was given to `lock`. */
  readonly key: string;
  /**
   * The fencing token: every later holder has a larger token, also after a lease ran out and after `FLUSHALL` (as long as the server's clock does not
   * go back). Send the token along with writes to other systems, and let them refuse a token smaller than the largest they have seen. Then a holder
   * that was stopped for longer than its lease can do no harm.
   */
  readonly token: number;
  /**
   * Aborted when the lock is lost: its lease ran out unconfirmed, another caller holds the lock, or the manager was disconnected. Its reason is a
   * `RedisError` of kind `lease-lost`. {@link release} does not abort it.
   */
  readonly signal: AbortSignal;
  /**
   * Renews the lease now; this and later renewals are for `leaseMs`.
   *
   * @param leaseMs Milliseconds, from 100. Default: the `leaseMs` of `lock`.
   * @throws RedisError of kind `lease-lost` if the lock is no longer held; `connection`, `timeout`, … if the server could not be asked (the lock is
   * held until its lease runs out).
   */
  extend(leaseMs?: number): Promise<void>;
  /**
   * Gives the lock back.
   *
   * @returns `false` if the lock was no longer held.
   * @throws RedisError of kind `connection`, `timeout`, … if the server could not be asked; the lock is no longer renewed and runs out.
   */
  release(): Promise<boolean>;
  /** The same as {@link release}. */
  [Symbol.asyncDispose](): Promise<void>;
}

const V = verbs('kv', 'lock', 'waitCancel', 'lockLost', 'lockExtend', 'lockRelease');

/** A held lock. `extend` and `release` work without `this`, so that they can be destructured. */
class HeldLock implements Lock {
  readonly key: string;
  readonly token: number;
  readonly signal: AbortSignal;
  readonly extend: Lock['extend'];
  readonly release: Lock['release'];

  /** @param own The store. The lock keeps it alive, because the native store gives up its locks when it is collected. */
  constructor(own: Internals, id: number, key: string, token: number, leaseMs: number | undefined) {
    this.key = key;
    this.token = token;
    this.signal = lossOf(own, id);
    this.extend = async (length = leaseMs) => {
      await own.port.call(own.handle, V.lockExtend, id, length);
    };
    this.release = async () => (await own.port.call(own.handle, V.lockRelease, id)) as boolean;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/** A signal that is aborted when the lock is lost. This is a function of its own, because the wait for the loss must not keep the store alive. */
function lossOf({ port, handle }: Internals, id: number): AbortSignal {
  const controller = new AbortController();
  // Quietly: a held lock does not keep the process alive.
  port.callQuietly(handle, V.lockLost, id).catch((error: unknown) => {
    if (isDebugging) debugEvent('Lock', 'lost', [error]);
    controller.abort(error);
  });
  return controller.signal;
}

/** Takes the lock `key`. */
export function takeLock(target: NumberingTarget, key: string, options: LockOptions | undefined): Promise<Lock> {
  return acquire<Lock>(target, key, options, {
    call: 'KVStore.lock',
    verb: V.lock,
    cancel: V.waitCancel,
    hold: (id, token, leaseMs) => new HeldLock(target, id, key, token, leaseMs),
    giveBack: (lock) => lock.release(),
  });
}
