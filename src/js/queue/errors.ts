/** The errors that a processor throws for a special outcome, and the error of `waitUntilFinished`. */

import { checkWhole } from '../arguments.js';

/** The longest delay of a job, in milliseconds: 100 years, as in Rust. */
const MAX_DELAY_MS = 3_155_760_000_000;

const unrecoverable = Symbol.for('redis-backplane.UnrecoverableError');
const delay = Symbol.for('redis-backplane.DelayError');
const failed = Symbol.for('redis-backplane.JobFailedError');

function has(value: unknown, brand: symbol): boolean {
  try {
    return typeof value === 'object' && value !== null && brand in value;
  } catch {
    // A proxy may throw from its `has` trap.
    return false;
  }
}

/**
 * A processor throws this error to fail the job at once, even if attempts are left.
 *
 * @example
 * queue.process(async ({ data }) => {
 *   if (!data.to) throw new UnrecoverableError('no address');
 * });
 */
export class UnrecoverableError extends Error {
  constructor(message?: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'UnrecoverableError';
    Object.defineProperty(this, unrecoverable, { value: true });
  }

  /** True for an error of any copy of this package, in any VM context. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return has(value, unrecoverable);
  }
}

/**
 * A processor throws this error to delay the job for `delayMs` milliseconds without using up an attempt.
 *
 * @example
 * queue.process(async () => {
 *   if (await isBusy()) throw new DelayError(30_000);
 * });
 */
export class DelayError extends Error {
  /** Milliseconds. */
  readonly delayMs: number;

  /**
   * @param delayMs A whole number of milliseconds, from 0 to 3 155 760 000 000 (100 years).
   * @throws RedisError of kind `config`.
   */
  constructor(delayMs: number) {
    checkWhole('DelayError: delayMs', delayMs, 0, MAX_DELAY_MS);
    super(`put back for ${delayMs} ms`);
    this.name = 'DelayError';
    this.delayMs = delayMs;
    Object.defineProperty(this, delay, { value: true });
  }

  /** True for an error of any copy of this package, in any VM context. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return has(value, delay);
  }
}

/**
 * The error of {@link Job.waitUntilFinished} when the job failed for good. Its message is the job's `failedReason`.
 *
 * @example
 * const job = await queue.add('send', mail);
 * try {
 *   await job.waitUntilFinished({ timeoutMs: 60_000 });
 * } catch (error) {
 *   if (error instanceof JobFailedError) console.log(error.message);
 * }
 */
export class JobFailedError extends Error {
  /** The job's id. */
  readonly jobId: string;

  constructor(jobId: string, failedReason: string) {
    super(failedReason);
    this.name = 'JobFailedError';
    this.jobId = jobId;
    Object.defineProperty(this, failed, { value: true });
  }

  /** True for an error of any copy of this package, in any VM context. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return has(value, failed);
  }
}
