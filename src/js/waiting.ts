/** Waiting for what a user's function gives, for a limited time. */

import type { RedisError } from './errors.js';
import type { Internals } from './internals.js';
import { verbs } from './native.js';

/** Where such a wait is counted. */
export interface WaitingHome extends Internals {
  nextId(): number;
}

const V = verbs('kv', 'wait', 'waitCancel');

/**
 * What `work` gives, or a rejection with `late()` after `ms`; then nothing of `work` is heard any more. The time is counted in Rust, and
 * keeps the process alive.
 */
export async function within<T>(home: WaitingHome, ms: number, work: Promise<T>, late: () => RedisError): Promise<T> {
  const id = home.nextId();
  const passed = home.port.call(home.handle, V.wait, id, ms);
  const timeout = new Promise<never>((_, reject) => {
    passed.then((hasPassed) => hasPassed && reject(late()), reject);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    // One that has just ended has nothing to cancel.
    home.port.callQuietly(home.handle, V.waitCancel, id).catch(() => {});
  }
}
