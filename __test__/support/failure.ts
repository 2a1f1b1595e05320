/** The error of a call that must fail. */
import { RedisError, type RedisErrorKind } from 'redis-backplane';
import { expect } from 'vitest';
import { within } from './until.ts';

/** How long a promise may take to settle, on a busy machine. */
const PATIENCE_MS = 15_000;

/** The RedisError that `promise` rejects with. */
export async function failureOf(promise: PromiseLike<unknown>, ms = PATIENCE_MS): Promise<RedisError> {
  const outcome = await within(
    ms,
    Promise.resolve(promise).then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    ),
    'a rejection',
  );
  if (!('error' in outcome)) throw new Error(`expected a rejection, got ${JSON.stringify(outcome.value)?.slice(0, 200)}`);
  if (!(outcome.error instanceof RedisError)) throw new Error('expected a RedisError', { cause: outcome.error });
  return outcome.error;
}

/** The RedisError that `promise` rejects with. It must have this kind, and a message that matches. */
export async function refusalOf(promise: PromiseLike<unknown>, kind: RedisErrorKind, message?: RegExp): Promise<RedisError> {
  const error = await failureOf(promise);
  expect(error.redisErrorKind, error.message).toBe(kind);
  if (message) expect(error.message).toMatch(message);
  return error;
}
