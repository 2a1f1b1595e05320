/** What a call that must fail fails with. */
import { RedisError, type RedisErrorKind } from 'redis-backplane';
import { expect } from 'vitest';
import { within } from './until.ts';

/** How long anything that must settle by itself may take, on a machine that is busy with something else. */
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

/** The same, which must be of that kind, with a message that matches. */
export async function refusalOf(promise: PromiseLike<unknown>, kind: RedisErrorKind, message?: RegExp): Promise<RedisError> {
  const error = await failureOf(promise);
  expect(error.redisErrorKind, error.message).toBe(kind);
  if (message) expect(error.message).toMatch(message);
  return error;
}
