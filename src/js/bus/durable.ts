/** Topics that are streams: appended to, and consumed by groups. */

import { cancelled } from '../arguments.js';
import { verbs } from '../native.js';
import { DurableSubscription } from './durable-subscription.js';
import type { Handling } from './handling.js';
import type { Inside } from './inside.js';
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
  inside: Inside,
  topic: string,
  text: string,
  key: string | undefined,
  once: { id: string; dedupeMs: number } | undefined,
): Promise<number> {
  if (once === undefined) return inside.port.call(inside.out, V.publishDurable, topic, text, key) as Promise<number>;
  return inside.port.callWith(inside.out, V.publishDurable, [topic, text, key, once.id, once.dedupeMs]) as Promise<number>;
}

/** Makes `handling` one of the consumers of a group; resolves when the group knows. */
export async function subscribeDurable(inside: Inside, topic: string, handling: Handling, options: DurableOptions): Promise<Unsubscribe> {
  const { signal } = options;
  const subscription = new DurableSubscription(inside, topic, handling, options);
  const unsubscribe = await subscription.begin(signal);
  if (signal?.aborted) {
    await unsubscribe();
    throw cancelled('MessageBus.subscribe', signal);
  }
  return unsubscribe;
}
