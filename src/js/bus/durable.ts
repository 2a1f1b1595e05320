/** Topics that are streams: appended to, and consumed by groups. */

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
 * Appends a message to its topic and sends it to the live subscribers; gives how many of those there were. With `once` an id that was
 * appended within that window is not appended again.
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

/** Makes `handling` one of the consumers of a group; resolves when the group knows. */
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
