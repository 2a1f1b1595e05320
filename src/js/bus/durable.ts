/** Topics that are streams: appended to, and consumed by groups. */

import { RedisError } from '../errors.js';
import type { Handling } from './handling.js';
import type { Inside } from './inside.js';
import type { SubscribeOptions, Unsubscribe } from './options.js';

/** The dead letters of a consumer group. */
export interface DeadLetters {
  list(): Promise<unknown[]>;
}

/** Options of a durable subscription. */
export interface DurableOptions extends Pick<SubscribeOptions, 'concurrency' | 'from' | 'retry' | 'claimAfterMs' | 'signal'> {
  group: string;
}

export async function publishDurable(_inside: Inside, _topic: string, _text: string, _key: string | undefined): Promise<number> {
  throw absent();
}

export async function subscribeDurable(
  _inside: Inside,
  _topic: string,
  _handling: Handling,
  _options: DurableOptions,
): Promise<Unsubscribe> {
  throw absent();
}

export function deadLetters(_inside: Inside, _topic: string, _group: string): DeadLetters {
  throw absent();
}

function absent(): RedisError {
  return new RedisError('config', 'durable: expected a live message');
}
