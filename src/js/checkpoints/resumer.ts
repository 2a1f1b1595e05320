/** Takes over threads whose owners are gone. */

import { checkFunction, checkWhole, optionsOf, refuseUnknown } from '../arguments.js';
import { configError, RedisError, warnOfListener } from '../errors.js';
import { hide, internals } from '../internals.js';
import { Listeners } from '../listeners.js';
import { verbs } from '../native.js';
import { optionsJson } from '../port.js';
import type { CheckpointRun, ResumeContext, ResumeOptions, ResumerEvents } from './options.js';
import { type Opening, ownerOptions } from './owner.js';
import { openRun } from './run.js';
import type { Loaded, Was } from './shapes.js';

/** The handler of a thread that was taken over. */
export type ResumeHandler<S> = (run: CheckpointRun<S>, context: ResumeContext) => Promise<void> | void;

const V = verbs('checkpoints', 'next', 'cancel');
const OPTIONS = ['concurrency', 'maxResumes', 'match', 'leaseMs', 'worker'] as const satisfies (keyof ResumeOptions)[];
/** The pause after a failed search for threads, in milliseconds. */
const PAUSE_MS = 2_000;

type Answer = ['taken', string, number, Loaded | null, Was] | ['failed', string, number] | null;

/** The internals of a resumer, see {@link internals}. */
class ResumerInternals<S> {
  readonly listeners = new Listeners<ResumerEvents>('Resumer', ['resumed', 'failed', 'error']);
  readonly #own: Opening;
  readonly #handler: ResumeHandler<S>;
  readonly #options: ResumeOptions;
  readonly #room: number;
  readonly #inHand = new Set<Promise<void>>();
  #waiting = 0;
  #isClosed = false;
  readonly #ended: Promise<void>;

  constructor(own: Opening, handler: ResumeHandler<S>, options: ResumeOptions) {
    this.#own = own;
    this.#handler = handler;
    this.#options = options;
    this.#room = options.concurrency ?? 1;
    this.#ended = this.#work();
    const end = (): Promise<void> => this.close();
    own.open.add(end);
    void this.#ended.then(() => Promise.all(this.#inHand)).then(() => own.open.delete(end));
  }

  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      const { port, handle } = this.#own;
      // If the wait has just ended, there is nothing to cancel.
      await port.callQuietly(handle, V.cancel, this.#waiting).catch(() => {});
    }
    await this.#ended;
    await Promise.all(this.#inHand);
  }

  async #work(): Promise<void> {
    const { port, handle } = this.#own;
    let pauseMs = 0;
    while (!this.#isClosed) {
      if (this.#inHand.size >= this.#room) {
        await Promise.race(this.#inHand);
        continue;
      }
      const id = this.#own.nextId();
      this.#waiting = this.#own.nextId();
      let answer: Answer;
      try {
        answer = (await port.call(handle, V.next, this.#waiting, id, optionsJson({ ...this.#options, pauseMs }))) as Answer;
        pauseMs = 0;
      } catch (error) {
        if (error instanceof RedisError && error.redisErrorKind === 'closed') return;
        this.#fail(error, undefined);
        pauseMs = PAUSE_MS;
        continue;
      }
      if (answer === null) return;
      if (answer[0] === 'failed') this.listeners.emit('failed', answer[1], answer[2]);
      else this.#begin(id, answer);
    }
  }

  #begin(id: number, answer: ['taken', string, number, Loaded | null, Was]): void {
    const work = this.#run(id, answer);
    this.#inHand.add(work);
    void work.then(() => this.#inHand.delete(work));
  }

  /** Never rejects. */
  async #run(id: number, [, thread, fence, found, was]: ['taken', string, number, Loaded | null, Was]): Promise<void> {
    const { run, again } = openRun<S>(this.#own, id, thread, [fence, found, was]);
    this.listeners.emit('resumed', thread);
    const attempt = was[3];
    try {
      await this.#handler(run, { attempt, signal: run.signal });
      await run.pause();
    } catch (error) {
      this.#fail(error, thread);
      // If the server cannot be reached now, the lease ends by itself.
      await again(attempt).catch((cause: unknown) => this.#fail(cause, thread));
    }
  }

  #fail(error: unknown, thread: string | undefined): void {
    if (this.listeners.has('error')) this.listeners.emit('error', error, thread);
    else warnOfListener(error);
  }
}

/**
 * Takes over interrupted threads until it is closed. While it is open it keeps the process alive.
 *
 * @example
 * const resumer = checkpoints.resume(async (run) => importFrom(run.checkpoint, run), { match: 'import:*' });
 * resumer.on('failed', (thread) => console.log(`${thread} was interrupted too often`));
 */
export class Resumer {
  /** @internal */
  declare readonly [internals]: { readonly listeners: Listeners<ResumerEvents>; close(): Promise<void> };

  /** @internal */
  constructor(own: { readonly listeners: Listeners<ResumerEvents>; close(): Promise<void> }) {
    hide(this, own);
  }

  /** Takes no more threads, and resolves when the handlers in hand have ended. Do not await it in a handler. */
  close(): Promise<void> {
    return this[internals].close();
  }

  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof ResumerEvents>(event: E, listener: (...args: ResumerEvents[E]) => unknown): this {
    this[internals].listeners.add(event, listener);
    return this;
  }

  /** Removes a listener. */
  off<E extends keyof ResumerEvents>(event: E, listener: (...args: ResumerEvents[E]) => unknown): this {
    this[internals].listeners.remove(event, listener);
    return this;
  }

  /** The same as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Starts to take over threads. */
export function startResumer<S>(own: Opening, handler: ResumeHandler<S>, options: ResumeOptions | undefined): Resumer {
  const call = 'CheckpointStore.resume';
  checkFunction(`${call}: handler`, handler);
  const { concurrency, maxResumes, match, leaseMs, worker, ...rest } = optionsOf(`${call}: options`, options);
  refuseUnknown(call, rest, OPTIONS);
  if (concurrency !== undefined) checkWhole(`${call}: concurrency`, concurrency, 1, 10_000);
  if (maxResumes !== undefined) checkWhole(`${call}: maxResumes`, maxResumes, 1, 1_000_000);
  if (match !== undefined && typeof match !== 'string') throw configError(`${call}: match`, 'a string', match);
  return new Resumer(new ResumerInternals<S>(own, handler, { concurrency, maxResumes, match, ...ownerOptions(call, { leaseMs, worker }) }));
}
