/** Workers, as a user has them. */

import { internals } from '../internals.js';
import type { Processor } from './attempt.js';
import type { CloseOptions, WorkerOptions } from './options.js';
import { Serving, type TaskWorkerEvents, type WorkerHome } from './serving.js';

/**
 * Runs a processor on jobs of a queue. Made by {@link TaskQueue.process}.
 *
 * Leases are renewed, jobs claimed and outcomes sent by Rust: a processor that blocks the event loop loses nothing. A processor that
 * throws, rejects or returns what JSON cannot express fails its attempt; it never ends the process. While it runs (from {@link run} until
 * {@link close}) it keeps the process alive.
 */
export class TaskWorker<T = unknown, R = unknown> {
  /** @internal */
  declare readonly [internals]: Serving<T, R>;

  /** @internal */
  constructor(home: WorkerHome, processor: Processor<T, R>, options: WorkerOptions) {
    Object.defineProperty(this, internals, { value: new Serving<T, R>(home, processor, options) });
  }

  /**
   * Begins to take jobs; does nothing where it does already. Only needed after `autorun: false`.
   *
   * @throws RedisError of kind `closed`.
   */
  run(): void {
    this[internals].run();
  }

  /** Takes no more jobs; resolves when none is in hand. {@link resume} ends it. Rejects with kind `closed`. */
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

  /** Does it take jobs, when there are any? */
  isRunning(): boolean {
    return this[internals].isRunning;
  }

  /**
   * Takes no more jobs and waits for those in hand, at most `graceMs`; what is left then has its signal aborted and goes back to the head of the
   * queue at once, its attempt not counted. Later calls share the first one's outcome, and may shorten its `graceMs`. Not to be awaited in a
   * processor, which would wait for itself.
   *
   * @returns `true`: every job in hand finished.
   */
  close(options?: CloseOptions): Promise<boolean> {
    return this[internals].close(options);
  }

  /** Adds a listener. One that throws is reported as a process warning; it affects nobody else. */
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
