/** Jobs: the public interface, and the objects that read and change a job in Redis. */

import { inspect } from 'node:util';
import { onAbort } from '../aborts.js';
import { cancelled, checkSignal, jsonArgument, optionsOf, refuseUnknown } from '../arguments.js';
import { RedisError } from '../errors.js';
import { internals } from '../internals.js';
import { verbs } from '../native.js';
import type { Port } from '../port.js';
import { JobFailedError } from './errors.js';
import type { JobOptions, JobState, WaitOptions } from './options.js';
import { parseStored } from './outcome.js';

/**
 * A job as it was when this object was made or last refreshed. Its methods act on the job in Redis.
 *
 * Every method rejects with kind `config` if the job is gone or in the wrong state; any call may reject with `connection`, `timeout`, `closed` or
 * `overloaded`, whose `delivery` says whether the server may have acted. In a processor `updateData`, `updateProgress` and `log` carry the attempt's
 * lease: after its loss they change nothing and reject with kind `lease-lost`.
 */
export interface Job<T = unknown, R = unknown> {
  /** Unique in the queue. */
  readonly id: string;
  /** What kind of job it is. */
  readonly name: string;
  /** The data that was added, as JSON expresses it. Throws a RedisError of kind `serialization` if the stored text is damaged. */
  readonly data: T;
  /** The options of `add()`, with defaults, without `children`. */
  readonly options: JobOptions;
  /** The state of the job when it was read; `refresh()` reads it again. */
  readonly state: JobState;
  /** Attempts that have ended. Attempts that lost their lease are not counted. */
  readonly attemptsMade: number;
  /** The last value of {@link updateProgress}; `undefined` before. */
  readonly progress: unknown;
  /** The processor's result, when the job has completed. */
  readonly result?: R | undefined;
  /** Why the last attempt failed, or why the job was cancelled. */
  readonly failedReason?: string | undefined;
  /** The stacks of failed attempts, newest last, at most 10. */
  readonly stacktrace: string[];
  /** When the job was added. All times of a job are milliseconds since the epoch, by the server's clock. */
  readonly addedAt: number;
  /** When the last attempt started. */
  readonly startedAt?: number | undefined;
  /** When the job completed or failed for good. */
  readonly finishedAt?: number | undefined;
  /** How often the job lost its worker. */
  readonly stalledCount: number;
  /** Replaces the data. */
  updateData(data: T): Promise<void>;
  /** Stores the progress, any value that JSON can express, and emits `progress` on every listening queue object. The next attempt sees the progress. */
  updateProgress(progress: unknown): Promise<void>;
  /** Adds a line of at most 64 KiB to the job's log, which keeps the newest 1 000 lines. Returns the number of lines in the log. */
  log(line: string): Promise<number>;
  /** The lines of the job's log. */
  logs(): Promise<string[]>;
  /** Reads the job again into this object, and returns this object; `null` if the job is gone. */
  refresh(): Promise<Job<T, R> | null>;
  /** Removes the job, in any state but `active` (kind `config`). `false`: it was gone. */
  remove(): Promise<boolean>;
  /** Retries a failed job with all its attempts: it waits for a worker, or for its children that have not completed. */
  retry(): Promise<void>;
  /** Lets a delayed job wait for a worker at once. */
  promote(): Promise<void>;
  /** Makes a delayed or waiting job due in `ms` milliseconds. */
  changeDelay(ms: number): Promise<void>;
  /** Changes the priority of a waiting or delayed job. */
  changePriority(priority: number): Promise<void>;
  /**
   * Resolves with the result when the job has completed, or at once if it has already. A job that is not kept (`keepCompleted: false`) gives its
   * result only to callers that wait by then, as {@link TaskQueue.addAndWait} does.
   *
   * @throws JobFailedError when the job failed for good. RedisError of kind `timeout`, delivery `rejected`, after `timeoutMs`; `cancelled` when
   * `signal` was aborted; `closed` when the queue is closed; `config` if there is no such job.
   */
  waitUntilFinished(options?: WaitOptions): Promise<R>;
  /**
   * Cancels the job. For an active job, `context.signal` is aborted, in any process: the job still completes if its processor returns, and fails for
   * good with `reason` if the processor throws. A job that is not active fails at once.
   *
   * @param reason Becomes `failedReason`. Default `cancelled`.
   * @returns `false` if the job is already over, or gone.
   */
  cancel(reason?: string): Promise<boolean>;
}

/** The part of a queue that a job uses. */
export interface JobQueue {
  readonly port: Port;
  /** The handle of the queue's native target. */
  readonly handle: number;
  /** Calls a verb of the queue; rejects once the queue is closed. */
  call(what: string, verb: number, ...args: unknown[]): Promise<unknown>;
  /** A new number for a wait. */
  nextWait(): number;
}

/** A job as an array of values, which Rust sends; {@link applySnapshot} reads the places. */
export type Snapshot = readonly unknown[];

const V = verbs(
  'queue',
  'get',
  'wait',
  'waitCancel',
  'updateData',
  'updateProgress',
  'log',
  'logs',
  'remove',
  'retry',
  'promote',
  'changeDelay',
  'changePriority',
  'cancel',
);

/** JSON text that is parsed when it is first read. */
class Lazy {
  #text: string | undefined;
  #value: unknown;
  readonly #what: string;

  constructor(what: string, text: string | undefined) {
    this.#what = what;
    this.#text = text;
  }

  get(): unknown {
    if (this.#text !== undefined) {
      this.#value = parseStored(this.#what, this.#text);
      this.#text = undefined;
    }
    return this.#value;
  }
}

/** How data, progress and log lines are written: with the lease of an attempt, or without a lease. */
export interface Writing {
  data(text: string): Promise<unknown>;
  progress(text: string): Promise<unknown>;
  log(line: string): Promise<unknown>;
}

/** The private state of a job. */
class JobInternals {
  readonly queue: JobQueue;
  readonly writing: Writing;
  data: Lazy;
  options: Lazy;
  progress: Lazy | undefined;
  result: Lazy | undefined;
  stacktrace: Lazy | undefined;

  constructor(queue: JobQueue, data: string | undefined, options: string | undefined, writing: Writing) {
    this.queue = queue;
    this.writing = writing;
    this.data = new Lazy('Job.data', data);
    this.options = new Lazy('Job.options', options);
  }

  set progressText(text: string | undefined) {
    this.progress = text === undefined ? undefined : new Lazy('Job.progress', text);
  }
}

/** A job that was read, added or claimed. */
export class StoredJob<T, R> implements Job<T, R> {
  // Assigned instead of hidden with `hide`: `hide` would cost more than the rest of the constructor, which runs for each job.
  /** @internal */
  readonly [internals]: JobInternals;
  readonly id: string;
  name: string;
  state: JobState = 'waiting';
  attemptsMade = 0;
  addedAt: number;
  startedAt?: number | undefined;
  finishedAt?: number | undefined;
  stalledCount = 0;
  failedReason?: string | undefined;

  constructor(
    queue: JobQueue,
    id: string,
    name: string,
    data: string,
    options: string | undefined,
    addedAt: number,
    writing: Writing = new FreeWriting(queue, id),
  ) {
    this.id = id;
    this.name = name;
    this.addedAt = addedAt;
    this[internals] = new JobInternals(queue, data, options, writing);
  }

  static of<T, R>(queue: JobQueue, snapshot: Snapshot): StoredJob<T, R> {
    const [id, name, data, options, , , addedAt] = snapshot as [string, string, string, string | null, unknown, unknown, number];
    const job = new StoredJob<T, R>(queue, id, name, data, options ?? undefined, addedAt);
    applySnapshot(job, snapshot);
    return job;
  }

  get data(): T {
    return this[internals].data.get() as T;
  }

  get options(): JobOptions {
    const options = this[internals].options.get() as JobOptions | undefined;
    if (options === undefined) return {};
    delete options.children;
    return options;
  }

  get progress(): unknown {
    return this[internals].progress?.get();
  }

  get result(): R | undefined {
    return this[internals].result?.get() as R | undefined;
  }

  get stacktrace(): string[] {
    return (this[internals].stacktrace?.get() as string[] | undefined) ?? [];
  }

  async updateData(data: T): Promise<void> {
    const text = jsonArgument('Job.updateData: data', data);
    const own = this[internals];
    await own.writing.data(text);
    own.data = new Lazy('Job.data', text);
  }

  async updateProgress(progress: unknown): Promise<void> {
    const text = jsonArgument('Job.updateProgress: progress', progress);
    const own = this[internals];
    await own.writing.progress(text);
    own.progressText = text;
  }

  log(line: string): Promise<number> {
    return this[internals].writing.log(line) as Promise<number>;
  }

  logs(): Promise<string[]> {
    return this[internals].queue.call('Job.logs', V.logs, this.id) as Promise<string[]>;
  }

  async refresh(): Promise<Job<T, R> | null> {
    const snapshot = (await this[internals].queue.call('Job.refresh', V.get, this.id)) as Snapshot | null;
    if (snapshot === null) return null;
    applySnapshot(this, snapshot);
    return this;
  }

  remove(): Promise<boolean> {
    return this[internals].queue.call('Job.remove', V.remove, this.id) as Promise<boolean>;
  }

  retry(): Promise<void> {
    return this[internals].queue.call('Job.retry', V.retry, this.id) as Promise<void>;
  }

  promote(): Promise<void> {
    return this[internals].queue.call('Job.promote', V.promote, this.id) as Promise<void>;
  }

  changeDelay(ms: number): Promise<void> {
    return this[internals].queue.call('Job.changeDelay', V.changeDelay, this.id, ms) as Promise<void>;
  }

  changePriority(priority: number): Promise<void> {
    return this[internals].queue.call('Job.changePriority', V.changePriority, this.id, priority) as Promise<void>;
  }

  async waitUntilFinished(options?: WaitOptions): Promise<R> {
    const what = 'Job.waitUntilFinished';
    const { timeoutMs, signal, ...rest } = optionsOf(`${what}: options`, options);
    refuseUnknown(what, rest, ['timeoutMs', 'signal']);
    const { queue } = this[internals];
    return (await endOf(queue, what, signal, (number) => queue.call(what, V.wait, number, this.id, timeoutMs), this.id)) as R;
  }

  cancel(reason?: string): Promise<boolean> {
    return this[internals].queue.call('Job.cancel', V.cancel, this.id, wellFormed(reason)) as Promise<boolean>;
  }

  /** The job's fields, for `JSON.stringify`. */
  toJSON(): Record<string, unknown> {
    const { id, name, data, options, state, attemptsMade, progress, result, failedReason, stacktrace } = this;
    const { addedAt, startedAt, finishedAt, stalledCount } = this;
    const shown = { id, name, data, options, state, attemptsMade, progress, result, failedReason, stacktrace };
    return { ...shown, addedAt, startedAt, finishedAt, stalledCount };
  }

  [inspect.custom](): string {
    const { id, name, state, attemptsMade, failedReason } = this;
    return `Job ${inspect({ id, name, state, attemptsMade, ...(failedReason === undefined ? {} : { failedReason }) })}`;
  }
}

/** Writes to a job without a lease: outside of its processor. */
class FreeWriting implements Writing {
  readonly queue: JobQueue;
  readonly id: string;

  constructor(queue: JobQueue, id: string) {
    this.queue = queue;
    this.id = id;
  }

  data(text: string): Promise<unknown> {
    return this.queue.call('Job.updateData', V.updateData, this.id, text);
  }

  progress(text: string): Promise<unknown> {
    return this.queue.call('Job.updateProgress', V.updateProgress, this.id, text);
  }

  log(line: string): Promise<unknown> {
    return this.queue.call('Job.log', V.log, this.id, wellFormed(line));
  }
}

/** Sets the fields of `job` to the values of a snapshot. */
function applySnapshot(job: StoredJob<unknown, unknown>, snapshot: Snapshot): void {
  const texts = snapshot as readonly (string | null)[];
  const numbers = snapshot as readonly (number | null)[];
  const own = job[internals];
  job.name = texts[1] as string;
  own.data = new Lazy('Job.data', texts[2] ?? undefined);
  own.options = new Lazy('Job.options', texts[3] ?? undefined);
  job.state = texts[4] as JobState;
  job.attemptsMade = numbers[5] as number;
  job.addedAt = numbers[6] as number;
  job.startedAt = numbers[7] ?? undefined;
  job.finishedAt = numbers[8] ?? undefined;
  job.stalledCount = numbers[9] as number;
  own.progressText = texts[10] ?? undefined;
  own.result = typeof texts[11] === 'string' ? new Lazy('Job.result', texts[11]) : undefined;
  job.failedReason = texts[12] ?? undefined;
  own.stacktrace = typeof texts[13] === 'string' ? new Lazy('Job.stacktrace', texts[13]) : undefined;
}

/**
 * Waits for the end of a job, and returns its result. `wait` calls the server, with the number under which the wait can be cancelled. It resolves
 * with how the job ended, its result or reason, and, where `known` does not give the job's id, the id.
 *
 * @throws JobFailedError, or what {@link Job.waitUntilFinished} throws.
 */
export async function endOf(
  queue: JobQueue,
  what: string,
  signal: AbortSignal | undefined,
  wait: (number: number) => Promise<unknown>,
  known?: string,
): Promise<unknown> {
  checkSignal(`${what}: signal`, signal);
  if (signal?.aborted) throw cancelled(what, signal);
  const number = queue.nextWait();
  const cancel = (): void => {
    // A failure needs no report: the wait may have just ended.
    queue.port.callQuietly(queue.handle, V.waitCancel, number).catch(() => {});
  };
  const forget = onAbort(signal, cancel);
  try {
    const [how, text, id] = (await wait(number)) as ['completed' | 'failed', string | null, string | undefined];
    if (how === 'failed') throw new JobFailedError(known ?? (id as string), text ?? '');
    return text === null ? undefined : parseStored('Job.result', text);
  } catch (error) {
    if (error instanceof RedisError && error.redisErrorKind === 'cancelled') throw cancelled(what, signal);
    throw error;
  } finally {
    forget();
  }
}

/** A text with each lone surrogate replaced by U+FFFD, since UTF-8 cannot express it. Any other value stays as it is, and Rust checks it. */
export function wellFormed<V>(value: V): V {
  return typeof value === 'string' && !value.isWellFormed() ? (value.toWellFormed() as V) : value;
}
