/** Acquiring what only one caller at a time may have: a lock, the lead of a role. */

import { onAbort } from './aborts.js';
import { cancelled, checkSignal, optionsOf } from './arguments.js';
import { RedisError } from './errors.js';
import type { NumberingTarget } from './internals.js';
import { optionsJson } from './port.js';

/** Options of every acquisition. */
export interface AcquireOptions {
  leaseMs?: number | undefined;
  waitMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** One kind of thing that is acquired. */
export interface Acquisition<H> {
  /** What the user called, for errors. */
  readonly call: string;
  /** The verb that waits. Its arguments: id, name, options as JSON. It answers with the token. */
  readonly verb: number;
  /** The verb that ends a wait. */
  readonly cancel: number;
  /** Makes what the user is given. */
  hold(id: number, token: number, leaseMs: number | undefined): H;
  /** Gives back what nobody waits for any more. */
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
    // A wait that has just ended has nothing to cancel.
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
    // If it cannot be given back now it runs out.
    await acquisition.giveBack(held).catch(() => {});
    throw cancelled(call, signal);
  }
  return held;
}
