/** A time limit for a user's function. */

import type { RedisError } from './errors.js';
import type { NumberingTarget } from './internals.js';
import { verbs } from './native.js';

const V = verbs('kv', 'wait', 'waitCancel');

/**
 * Settles as `work` does, or rejects with `late()` after `ms` milliseconds. After that the outcome of `work` is ignored. Rust counts the time; the
 * wait keeps the process alive.
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
    // A failure needs no report: the wait may have just ended.
    target.port.callQuietly(target.handle, V.waitCancel, id).catch(() => {});
  }
}
