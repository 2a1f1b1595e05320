/** Retries of a function, with growing delays. */

import { onAbort } from './aborts.js';
import { cancelled, checkFunction, checkNumber, checkSignal, checkWhole, MAX_MS, optionsOf, refuseUnknown } from './arguments.js';
import { configError, RedisError } from './errors.js';

/** Options of {@link retry}. */
export interface RetryOptions {
  /** The most attempts, the first included: a whole number from 1. Default 3. */
  maxAttempts?: number | undefined;
  /** The delay before the second attempt, in milliseconds, from 0. Default 100. */
  minDelayMs?: number | undefined;
  /** The longest delay, in milliseconds, from `minDelayMs`. Default 10 000. */
  maxDelayMs?: number | undefined;
  /** The factor by which each delay is longer than the previous delay, from 1 to 100. Default 2. */
  factor?: number | undefined;
  /** `true`: each delay is random between `minDelayMs` and its computed value, so that many callers spread out. Default true. */
  jitter?: boolean | undefined;
  /** Is `fn` retried after this error? Default: not after a `RedisError` whose `retryable` is false. */
  shouldRetry?: ((error: unknown) => boolean) | undefined;
  /** Ends the wait between attempts, with kind `cancelled`. A running attempt is not interrupted. */
  signal?: AbortSignal | undefined;
}

const OPTIONS = ['maxAttempts', 'minDelayMs', 'maxDelayMs', 'factor', 'jitter', 'shouldRetry', 'signal'];

/**
 * Calls `fn` until it succeeds, `maxAttempts` times at most, with exponential backoff and jitter in between.
 *
 * An attempt may have had an effect before it failed: a `RedisError` whose `delivery` is `maybe-executed` is retried too. So make `fn` safe to repeat,
 * or return false from `shouldRetry`.
 *
 * @param fn Gets the number of the attempt, from 1.
 * @returns The result of `fn`.
 * @throws The error of the last attempt, unchanged. RedisError of kind `cancelled` when `signal` was aborted before or between attempts; `config` for
 * a bad option.
 */
export async function retry<T>(fn: (attempt: number) => Promise<T> | T, options?: RetryOptions): Promise<T> {
  checkFunction('retry: fn', fn);
  const given: RetryOptions = optionsOf('retry: options', options);
  const {
    maxAttempts = 3,
    minDelayMs = 100,
    maxDelayMs = Math.max(10_000, minDelayMs),
    factor = 2,
    jitter = true,
    shouldRetry = mayRetry,
    signal,
    ...rest
  } = given;
  refuseUnknown('retry', rest, OPTIONS);
  checkWhole('retry: maxAttempts', maxAttempts, 1);
  checkNumber('retry: minDelayMs', ' of milliseconds', minDelayMs, 0, MAX_MS);
  checkNumber('retry: maxDelayMs', ' of milliseconds', maxDelayMs, minDelayMs, MAX_MS);
  checkNumber('retry: factor', '', factor, 1, 100);
  if (typeof jitter !== 'boolean') throw configError('retry: jitter', 'true or false', jitter);
  checkFunction('retry: shouldRetry', shouldRetry);
  checkSignal('retry: signal', signal);
  for (let attempt = 1; ; attempt++) {
    if (signal?.aborted) throw cancelled('retry', signal);
    try {
      return await fn(attempt);
    } catch (error) {
      if (attempt >= maxAttempts || !shouldRetry(error)) throw error;
    }
    const grown = Math.min(maxDelayMs, minDelayMs * factor ** (attempt - 1));
    await pause(jitter ? minDelayMs + Math.random() * (Math.min(maxDelayMs, grown * factor) - minDelayMs) : grown, signal);
  }
}

function mayRetry(error: unknown): boolean {
  return !(error instanceof RedisError) || error.retryable;
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(cancelled('retry', signal));
      return;
    }
    const timer = setTimeout(() => {
      forget();
      resolve();
    }, ms);
    const forget = onAbort(signal, () => {
      clearTimeout(timer);
      reject(cancelled('retry', signal));
    });
  });
}
