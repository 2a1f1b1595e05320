/** The public class of a worker. */

import { internals } from '../internals.js';
import type { Processor } from './attempt.js';
import type { CloseOptions, WorkerOptions } from './options.js';
import { type TaskWorkerEvents, WorkerInternals, type WorkerQueue } from './worker-internals.js';

/**
 * Runs a processor on jobs of a queue. Made by {@link TaskQueue.process}.
 *
 * Rust renews leases, claims jobs and sends outcomes: a processor that blocks the event loop loses nothing. A processor that throws, rejects or
 * returns a value that JSON cannot express fails its attempt; it never ends the process. A running worker (from {@link run} until {@link close})
 * keeps the process alive.
 *
 * @example
 * const worker = queue.process(async (job) => send(job.data), { concurrency: 10 });
 * worker.on('failed', (job, error) => console.error(job.id, error));
 * await worker.close();
 */
export class TaskWorker<T = unknown, R = unknown> {
  /** @internal */
  declare readonly [internals]: WorkerInternals<T, R>;

  /** @internal */
  constructor(queue: WorkerQueue, processor: Processor<T, R>, options: WorkerOptions) {
    Object.defineProperty(this, internals, { value: new WorkerInternals<T, R>(queue, processor, options) });
  }

  /**
   * Starts to take jobs; does nothing if it is running. Only needed after `autorun: false`.
   *
   * @throws RedisError of kind `closed`.
   */
  run(): void {
    this[internals].run();
  }

  /** Takes no more jobs; resolves when no job runs any more. {@link resume} takes jobs again. Rejects with kind `closed`. */
  pause(): Promise<void> {
    return this[internals].pause();
  }

  /**
   * Takes jobs again.
   *
   * @throws RedisError of kind `closed`.
   */
  resume(): void {
    this[internals].run();
  }

  /** Does the worker take jobs, if there are any? */
  isRunning(): boolean {
    return this[internals].isRunning;
  }

  /**
   * Takes no more jobs and waits for the running jobs, at most `graceMs`. After that the signals of the jobs that still run are aborted, and these
   * jobs go back to the head of the queue at once; the attempt is not counted. Later calls share the first call's outcome, and may shorten its
   * `graceMs`. Do not await `close()` in a processor: the processor would wait for itself.
   *
   * @returns `true` if every running job finished.
   */
  close(options?: CloseOptions): Promise<boolean> {
    return this[internals].close(options);
  }

  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof TaskWorkerEvents<T, R>>(event: E, listener: (...args: TaskWorkerEvents<T, R>[E]) => unknown): this {
    this[internals].listeners.add(event, listener);
    return this;
  }

  /** Removes a listener. */
  off<E extends keyof TaskWorkerEvents<T, R>>(event: E, listener: (...args: TaskWorkerEvents<T, R>[E]) => unknown): this {
    this[internals].listeners.remove(event, listener);
    return this;
  }

  /** The same as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
