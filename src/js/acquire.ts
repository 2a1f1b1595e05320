/** The acquisition of a right that one caller at a time holds: a lock, or the leadership of a role. */

import { onAbort } from './aborts.js';
import { cancelled, checkSignal, optionsOf } from './arguments.js';
import { RedisError } from './errors.js';
import type { NumberingTarget } from './internals.js';
import { optionsJson } from './port.js';

/** The options that all acquisitions have. */
export interface AcquireOptions {
  leaseMs?: number | undefined;
  waitMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** A kind of right: a lock or a leadership. */
export interface Acquisition<H> {
  /** The name of the public method, for errors. */
  readonly call: string;
  /** The verb that waits for the right. Its arguments: id, name, options as JSON. Its answer: the token. */
  readonly verb: number;
  /** The verb that ends a wait. */
  readonly cancel: number;
  /** Makes the object that the user gets. */
  hold(id: number, token: number, leaseMs: number | undefined): H;
  /** Releases a right whose caller no longer waits. */
  giveBack(held: H): Promise<unknown>;
}

/** Acquires `name`. Rejects with kind `cancelled` once the signal is aborted, even if `name` was acquired meanwhile. */
export async function acquire<H>(
  target: NumberingTarget,
  name: string,
  options: AcquireOptions | undefined,
  acquisition: Acquisition<H>,
): Promise<H> {
  const { call } = acquisition;
  const given = optionsOf(`${call}: options`, options);
  const { leaseMs, signal } = given;
  checkSignal(`${call}: signal`, signal);
  if (signal?.aborted) throw cancelled(call, signal);
  const text = optionsJson(given, { signal: undefined });
  const id = target.nextId();
  const cancel = (): void => {
    // A failure needs no report: the wait may have just ended.
    target.port.callQuietly(target.handle, acquisition.cancel, id).catch(() => {});
  };
  const forget = onAbort(signal, cancel);
  let token: number;
  try {
    token = (await target.port.call(target.handle, acquisition.verb, id, name, text)) as number;
  } catch (error) {
    if (signal?.aborted && error instanceof RedisError && error.redisErrorKind === 'cancelled') throw cancelled(call, signal);
    throw error;
  } finally {
    forget();
  }
  const held = acquisition.hold(id, token, leaseMs);
  if (signal?.aborted) {
    // If the release fails, the lease runs out.
    await acquisition.giveBack(held).catch(() => {});
    throw cancelled(call, signal);
  }
  return held;
}
