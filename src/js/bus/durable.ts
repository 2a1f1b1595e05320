/** Durable topics, which are Redis streams: publishing to them, and consuming them in groups. */

import { cancelled } from '../arguments.js';
import { verbs } from '../native.js';
import { DurableSubscription } from './durable-subscription.js';
import type { Handling } from './handling.js';
import type { BusInternals } from './internals.js';
import type { SubscribeOptions, Unsubscribe } from './options.js';

export { type DeadLetter, type DeadLetterListOptions, type DeadLetters, deadLetters, type RedriveOptions } from './dead-letters.js';

const V = verbs('bus', 'publishDurable');

/** Options of a durable subscription. */
export interface DurableOptions extends SubscribeOptions {
  group: string;
}

/**
 * Appends a message to its topic's stream and sends it to the live subscribers. Resolves with the number of live subscribers. With `once`, a message
 * whose id was appended within `dedupeMs` is not appended again.
 */
export function publishDurable(
  bus: BusInternals,
  topic: string,
  text: string,
  key: string | undefined,
  once: { id: string; dedupeMs: number } | undefined,
): Promise<number> {
  if (once === undefined) return bus.port.call(bus.out, V.publishDurable, topic, text, key) as Promise<number>;
  return bus.port.callWith(bus.out, V.publishDurable, [topic, text, key, once.id, once.dedupeMs]) as Promise<number>;
}

/** Subscribes `handling` as a consumer of a group. Resolves when the server has recorded the consumer. */
export async function subscribeDurable(
  bus: BusInternals,
  topic: string,
  handling: Handling,
  options: DurableOptions,
): Promise<Unsubscribe> {
  const { signal } = options;
  const subscription = new DurableSubscription(bus, topic, handling, options);
  const unsubscribe = await subscription.begin(signal);
  if (signal?.aborted) {
    await unsubscribe();
    throw cancelled('MessageBus.subscribe', signal);
  }
  return unsubscribe;
}
