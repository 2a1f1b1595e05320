/** The end of a subscription. */

import { RedisError } from '../errors.js';
import type { Handling } from './handling.js';
import type { BusInternals } from './internals.js';
import type { Unsubscribe } from './options.js';

/**
 * Resolves when no handler of `handling` runs any more, except handlers that themselves wait for this. After `closeTimeoutMs` it resolves even if a
 * handler still runs, and emits an `error` event.
 */
export async function handlersEnded(bus: BusInternals, handling: Handling, topic: string): Promise<void> {
  let over = false;
  const settled = handling.settled().then(() => {
    over = true;
  });
  // One promise job first: without running handlers no timer is needed.
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

/** The function that a subscriber gets to end its subscription. */
export function unsubscribeBy(end: () => Promise<void>): Unsubscribe {
  const unsubscribe = (): Promise<void> => end();
  return Object.assign(unsubscribe, { [Symbol.asyncDispose]: unsubscribe });
}
