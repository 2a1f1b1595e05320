/** Waiting, until it is taken, for what one at a time may have: a lock, the lead of a role. */

import { onAbort } from './aborts.js';
import { cancelled, checkSignal, optionsOf } from './arguments.js';
import { RedisError } from './errors.js';
import type { Internals } from './internals.js';
import { optionsJson } from './port.js';

/** Where such a thing is taken. */
export interface TakingHome extends Internals {
  nextId(): number;
}

/** Options of every taking. */
export interface TakingOptions {
  leaseMs?: number | undefined;
  waitMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** One kind of thing that is taken. */
export interface Taking<H> {
  /** What the user called, for errors. */
  readonly call: string;
  /** The verb that waits. Its arguments: id, name, options as JSON. It answers with the token. */
  readonly take: number;
  /** The verb that ends a wait. */
  readonly cancel: number;
  /** Makes what the user is given. */
  hold(id: number, token: number, leaseMs: number | undefined): H;
  /** Gives back what nobody waits for any more. */
  giveBack(held: H): Promise<unknown>;
}

/** Takes `name`, or rejects: with kind `cancelled` once the signal is aborted, though it was taken meanwhile. */
export async function take<H>(home: TakingHome, name: string, options: TakingOptions | undefined, taking: Taking<H>): Promise<H> {
  const { call } = taking;
  const given = optionsOf(`${call}: options`, options);
  const { leaseMs, signal } = given;
  checkSignal(`${call}: signal`, signal);
  if (signal?.aborted) throw cancelled(call, signal);
  const text = optionsJson(given, { signal: undefined });
  const id = home.nextId();
  const cancel = (): void => {
    // A wait that has just ended has nothing to cancel.
    home.port.callQuietly(home.handle, taking.cancel, id).catch(() => {});
  };
  const forget = onAbort(signal, cancel);
  let token: number;
  try {
    token = (await home.port.call(home.handle, taking.take, id, name, text)) as number;
  } catch (error) {
    if (signal?.aborted && error instanceof RedisError && error.redisErrorKind === 'cancelled') throw cancelled(call, signal);
    throw error;
  } finally {
    forget();
  }
  const held = taking.hold(id, token, leaseMs);
  if (signal?.aborted) {
    // If it cannot be given back now it runs out.
    await taking.giveBack(held).catch(() => {});
    throw cancelled(call, signal);
  }
  return held;
}
