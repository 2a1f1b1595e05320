/** What `NODE_DEBUG=redis-backplane` prints on stderr: one line for each event and for each slow call. No payload, key, value or secret is in a line. */

import { debuglog } from 'node:util';
import { RedisError } from './errors.js';

/** A call that takes longer is a slow call, in milliseconds. */
const SLOW_MS = 100;

/** The fields of an event's argument that a line shows. Each holds a name, a number or a reason, never a payload. */
const SHOWN = [
  'id',
  'name',
  'jobId',
  'topic',
  'pattern',
  'group',
  'streamId',
  'letterId',
  'envelopeId',
  'epoch',
  'part',
  'reason',
  'attempt',
  'attempts',
  'attemptsMade',
  'delayMs',
  'durationMs',
  'dropped',
  'missed',
  'bytes',
  'saved',
  'conflicts',
  'discarded',
  'destroyed',
];

const log = debuglog('redis-backplane');

/** Does `NODE_DEBUG` name this package? */
export const isDebugging: boolean = log.enabled;

/** Prints an event of an object of class `owner`. */
export function debugEvent(owner: string, event: string, args: readonly unknown[]): void {
  log('%s', [owner, event, ...args.map(shown)].join(' ').trimEnd());
}

/** Prints `call` when it has taken longer than {@link SLOW_MS}. */
export async function debugCall<T>(call: string, run: () => Promise<T>): Promise<T> {
  const start = performance.now();
  try {
    return await run();
  } finally {
    const ms = performance.now() - start;
    if (ms > SLOW_MS) log('%s', `slow call ${call} took ${ms.toFixed(0)} ms`);
  }
}

function shown(value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  if (value instanceof RedisError) return `${value.redisErrorKind} (${value.message})`;
  // Another error is a user's, and its message may hold a payload.
  if (value instanceof Error) return value.name;
  if (typeof value !== 'object' || value === null) return '';
  const fields = value as Record<string, unknown>;
  const words = SHOWN.filter((name) => typeof fields[name] === 'string' || typeof fields[name] === 'number').map(
    (name) => `${name}=${fields[name]}`,
  );
  if (fields.error instanceof Error) words.push(shown(fields.error));
  return words.join(' ');
}
