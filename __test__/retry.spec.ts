/** `retry`: how often, how long in between, and when it stops. */
import { RedisError, retry } from 'redis-backplane';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Runs all timers until `promise` settles; gives its outcome and the delays that passed. */
async function run<T>(promise: Promise<T>) {
  const began = Date.now();
  const settled = promise.then(
    (value) => ({ value, error: undefined }),
    (error: unknown) => ({ value: undefined, error }),
  );
  await vi.runAllTimersAsync();
  return { ...(await settled), took: Date.now() - began };
}

/** A function that fails so many times. */
function failing(times: number, error: unknown = new Error('mine')) {
  const attempts: { attempt: number; at: number }[] = [];
  const fn = async (attempt: number) => {
    attempts.push({ attempt, at: Date.now() });
    if (attempts.length <= times) throw error;
    return 'ok';
  };
  return { fn, attempts, error };
}

test('it gives what the first attempt that succeeds gives', async () => {
  const { fn, attempts } = failing(2);
  expect(await run(retry(fn))).toMatchObject({ value: 'ok' });
  expect(attempts.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
});

test('after maxAttempts the last error comes as it is', async () => {
  const { fn, attempts, error } = failing(100);
  expect((await run(retry(fn, { maxAttempts: 5 }))).error).toBe(error);
  expect(attempts).toHaveLength(5);
  const single = failing(1);
  expect((await run(retry(single.fn, { maxAttempts: 1 }))).took).toBe(0);
});

test('without jitter the delays grow by the factor up to the longest', async () => {
  const { fn, attempts } = failing(100);
  await run(retry(fn, { maxAttempts: 6, minDelayMs: 100, maxDelayMs: 1_000, factor: 3, jitter: false }));
  expect(attempts.slice(1).map(({ at }, i) => at - (attempts[i]?.at ?? 0))).toEqual([100, 300, 900, 1_000, 1_000]);
});

test('with jitter every delay is between the shortest and the longest', async () => {
  const { fn, attempts } = failing(100);
  await run(retry(fn, { maxAttempts: 50, minDelayMs: 100, maxDelayMs: 1_000 }));
  const delays = attempts.slice(1).map(({ at }, i) => at - (attempts[i]?.at ?? 0));
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(100);
  expect(Math.max(...delays)).toBeLessThanOrEqual(1_000);
  expect(new Set(delays).size).toBeGreaterThan(10);
});

test('an error that is not retryable ends it, unless shouldRetry says otherwise', async () => {
  const config = failing(100, new RedisError('config', 'no'));
  expect((await run(retry(config.fn))).error).toBe(config.error);
  expect(config.attempts).toHaveLength(1);
  const timeout = failing(1, new RedisError('timeout', 'late', { retryable: true }));
  expect((await run(retry(timeout.fn))).value).toBe('ok');
  const asked = failing(1, new RedisError('config', 'no'));
  expect((await run(retry(asked.fn, { shouldRetry: (error) => error === asked.error }))).value).toBe('ok');
  const never = failing(1);
  expect((await run(retry(never.fn, { shouldRetry: () => false }))).error).toBe(never.error);
});

test('an aborted signal ends the wait with kind cancelled', async () => {
  const controller = new AbortController();
  const { fn, attempts } = failing(100);
  const waiting = retry(fn, { signal: controller.signal, minDelayMs: 60_000, maxDelayMs: 60_000 });
  const settled = waiting.catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(1_000);
  const reason = new Error('enough');
  controller.abort(reason);
  expect(await settled).toMatchObject({ redisErrorKind: 'cancelled', cause: reason });
  expect(attempts).toHaveLength(1);
  expect(vi.getTimerCount()).toBe(0);
  expect((await run(retry(fn, { signal: controller.signal }))).error).toMatchObject({ redisErrorKind: 'cancelled' });
  expect(attempts).toHaveLength(1);
});

test('a signal that the attempt itself aborts ends it before there is a wait', async () => {
  const controller = new AbortController();
  const reason = new Error('enough');
  const fn = () => {
    controller.abort(reason);
    throw new Error('mine');
  };
  const { error, took } = await run(retry(fn, { signal: controller.signal, minDelayMs: 60_000, maxDelayMs: 60_000 }));
  expect(error).toMatchObject({ redisErrorKind: 'cancelled', cause: reason });
  expect(took).toBe(0);
});

test('a function that throws at once is tried again too', async () => {
  let calls = 0;
  const fn = () => {
    calls += 1;
    if (calls === 1) throw new Error('mine');
    return calls;
  };
  expect((await run(retry(fn))).value).toBe(2);
});

test('bad options are refused by name, and nothing runs', async () => {
  let calls = 0;
  const fn = async () => {
    calls += 1;
  };
  const bad: [unknown, RegExp][] = [
    [{ maxAttempts: 0 }, /^retry: maxAttempts: /],
    [{ maxAttempts: 1.5 }, /^retry: maxAttempts: /],
    [{ minDelayMs: -1 }, /^retry: minDelayMs: /],
    [{ minDelayMs: Number.NaN }, /^retry: minDelayMs: /],
    [{ minDelayMs: 10, maxDelayMs: 5 }, /^retry: maxDelayMs: expected a number of milliseconds from 10/],
    [{ factor: 0.5 }, /^retry: factor: /],
    [{ jitter: 1 }, /^retry: jitter: /],
    [{ shouldRetry: true }, /^retry: shouldRetry: /],
    [{ signal: {} }, /^retry: signal: /],
    [{ attempts: 3 }, /^retry\.attempts: .*unknown option/],
    [5, /^retry: options: /],
  ];
  for (const [options, message] of bad) {
    const { error } = await run(retry(fn, options as never));
    expect(error).toMatchObject({ redisErrorKind: 'config', message: expect.stringMatching(message) });
  }
  expect((await run(retry(5 as never))).error).toMatchObject({ redisErrorKind: 'config' });
  expect(calls).toBe(0);
});
