/** Topics that are streams: appended to, and consumed by groups. */

import { cancelled, optionsOf } from '../arguments.js';
import { configError } from '../errors.js';
import { verbs } from '../native.js';
import { DurableSubscription } from './durable-subscription.js';
import type { Handling } from './handling.js';
import type { Inside } from './inside.js';
import type { SubscribeOptions, Unsubscribe } from './options.js';

export { type DeadLetter, type DeadLetterListOptions, type DeadLetters, deadLetters, type RedriveOptions } from './dead-letters.js';

const V = verbs('bus', 'publishDurable');

/** Options of a durable subscription. */
export interface DurableOptions extends Pick<SubscribeOptions, 'concurrency' | 'from' | 'retry' | 'claimAfterMs' | 'timeoutMs' | 'signal'> {
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
  const { from, signal } = options;
  const retry = optionsOf('MessageBus.subscribe: retry', options.retry);
  for (const name of Object.keys(retry)) {
    if (!['maxAttempts', 'minDelayMs', 'maxDelayMs'].includes(name)) {
      throw configError(
        `MessageBus.subscribe: retry.${name}`,
        'one of the options maxAttempts, minDelayMs, maxDelayMs',
        'an unknown option',
      );
    }
  }
  const subscription = new DurableSubscription(inside, topic, handling, { ...options, retry, from: beginOf(from) });
  const unsubscribe = await subscription.begin(signal);
  if (signal?.aborted) {
    await unsubscribe();
    throw cancelled('MessageBus.subscribe', signal);
  }
  return unsubscribe;
}

/** A time becomes the id of the first message that may have been appended then. */
function beginOf(from: unknown): string | undefined {
  if (from === undefined || from === 'new' || from === 'start') return from;
  if (typeof from === 'string' && /^\d+(-\d+)?$/.test(from)) return from;
  const time = typeof from === 'string' && /^\d{4}-/.test(from) ? Date.parse(from) : Number.NaN;
  if (!(time >= 0)) throw configError('MessageBus.subscribe: from', '"new", "start", the id of a stream entry or an ISO time', from);
  return String(time);
}
