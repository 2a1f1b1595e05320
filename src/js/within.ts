/** Waiting for what a user's function gives, for a limited time. */

import type { RedisError } from './errors.js';
import type { NumberingTarget } from './internals.js';
import { verbs } from './native.js';

const V = verbs('kv', 'wait', 'waitCancel');

/**
 * What `work` gives, or a rejection with `late()` after `ms`; then nothing of `work` is heard any more. The time is counted in Rust, and
 * keeps the process alive.
 */
export async function within<T>(target: NumberingTarget, ms: number, work: Promise<T>, late: () => RedisError): Promise<T> {
  const id = target.nextId();
  const passed = target.port.call(target.handle, V.wait, id, ms);
  const timeout = new Promise<never>((_, reject) => {
    passed.then((hasPassed) => hasPassed && reject(late()), reject);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    // One that has just ended has nothing to cancel.
    target.port.callQuietly(target.handle, V.waitCancel, id).catch(() => {});
  }
}
