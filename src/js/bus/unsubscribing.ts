/** The end of a subscription. */

import { RedisError } from '../errors.js';
import type { Handling } from './handling.js';
import type { BusInternals } from './internals.js';
import type { Unsubscribe } from './options.js';

/**
 * Resolves when no handler of `handling` runs any more, but for those that wait for this themselves; after `closeTimeoutMs` at the
 * latest: then it is told as an `error` that one still runs.
 */
export async function left(bus: BusInternals, handling: Handling, topic: string): Promise<void> {
  let over = false;
  const settled = handling.settled().then(() => {
    over = true;
  });
  // Time for those that only have to take a step.
  await Promise.resolve();
  if (over) return;
  bus.port.retain();
  try {
    await Promise.race([settled, bus.wait(bus.closeTimeoutMs)]);
  } finally {
    bus.port.free();
  }
  if (over) return;
  const message = `a handler has not ended within closeTimeoutMs, ${bus.closeTimeoutMs} ms: it is waited for no longer`;
  bus.emit('error', { topic, error: new RedisError('timeout', message) });
}

/** A function that ends a subscription with `end`. */
export function unsubscribeBy(end: () => Promise<void>): Unsubscribe {
  const unsubscribe = (): Promise<void> => end();
  return Object.assign(unsubscribe, { [Symbol.asyncDispose]: unsubscribe });
}
