/** One attempt of a job, inside a worker. */

import { internals } from '../internals.js';
import { verbs } from '../native.js';
import type { Port } from '../port.js';
import { type Job, type JobQueue, StoredJob, type Writing, wellFormed } from './job.js';
import { parseStored } from './outcome.js';

const V = verbs('worker', 'updateData', 'updateProgress', 'log', 'children');

/** The second argument of a {@link Processor}. */
export interface JobContext {
  /**
   * Aborted when Redis has ended the attempt, even if the processor still runs. Its reason is a RedisError of kind `lease-lost`,
   * `timeout` (`timeoutMs` of the job), `cancelled` ({@link Job.cancel}) or `closed` (the worker was closed by force, or the manager
   * disconnected). After `cancelled` the processor's outcome still counts; after the other kinds it is ignored.
   */
  readonly signal: AbortSignal;
  /** The number of this attempt: 1 for the first. */
  readonly attempt: number;
  /** The results of the job's children, by id; children of another queue by `queue:id`. */
  readonly children: () => Promise<Record<string, unknown>>;
}

/**
 * Does a job. Its result (`undefined`, or a value that JSON can express) completes the job; if it throws or rejects, the attempt has failed. It runs
 * in the async context of the {@link TaskQueue.process} call, with the job's `corrId`, if any, as {@link correlation}.
 */
export type Processor<T = unknown, R = unknown> = (job: Job<T, R>, context: JobContext) => R | Promise<R>;

/** The job of an attempt. Its writes carry the attempt's lease. */
export class HeldJob<T, R> extends StoredJob<T, R> {
  /** The `corrId` of the job's options. The options are parsed only if their text has one. */
  readonly corrId: string | undefined;

  constructor(queue: JobQueue, worker: number, values: readonly unknown[], at: number) {
    const [slot, id, name, data, options] = values.slice(at, at + 5) as [number, string, string, string, string | null];
    const [attemptsMade, addedAt, startedAt, stalledCount] = values.slice(at + 5, at + 9) as [number, number, number, number];
    super(queue, id, name, data, options ?? undefined, addedAt, new HeldWriting(queue.port, worker, slot));
    this.corrId = options?.includes('"corrId":') === true ? this.options.corrId : undefined;
    this.state = 'active';
    this.attemptsMade = attemptsMade;
    this.startedAt = startedAt;
    this.stalledCount = stalledCount;
    this[internals].progressText = (values[at + 9] as string | null) ?? undefined;
  }
}

/** The writes of an attempt, which name its worker and its slot. */
class HeldWriting implements Writing {
  readonly port: Port;
  readonly worker: number;
  readonly slot: number;

  constructor(port: Port, worker: number, slot: number) {
    this.port = port;
    this.worker = worker;
    this.slot = slot;
  }

  data(text: string): Promise<unknown> {
    return this.port.call(this.worker, V.updateData, this.slot, text);
  }

  progress(text: string): Promise<unknown> {
    return this.port.call(this.worker, V.updateProgress, this.slot, text);
  }

  log(line: string): Promise<unknown> {
    return this.port.call(this.worker, V.log, this.slot, wellFormed(line));
  }
}

/** The results of the children of the job in `slot`. */
async function childrenOf(port: Port, worker: number, slot: number): Promise<Record<string, unknown>> {
  const flat = (await port.call(worker, V.children, slot)) as (string | null)[];
  const entries: [string, unknown][] = [];
  for (let at = 0; at < flat.length; at += 2) {
    const text = flat[at + 1];
    entries.push([flat[at] as string, typeof text === 'string' ? parseStored('context.children', text) : undefined]);
  }
  return Object.fromEntries(entries);
}

/** One running attempt. */
export class Attempt<T, R> {
  readonly job: HeldJob<T, R>;
  readonly context: JobContext;
  readonly #port: Port;
  readonly #worker: number;
  readonly #slot: number;
  /** The reason of {@link Job.cancel}; `undefined` if the job was not cancelled. */
  cancelled: string | undefined;
  #controller: AbortController | undefined;
  #reason: unknown;

  constructor(job: HeldJob<T, R>, port: Port, worker: number, slot: number) {
    this.job = job;
    this.#port = port;
    this.#worker = worker;
    this.#slot = slot;
    this.context = new AttemptContext(this, job.attemptsMade + 1);
  }

  // The controller is made at the first use, because most processors never read the signal.
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  // A function without `this`, so that a processor may destructure its context.
  get children(): JobContext['children'] {
    return () => childrenOf(this.#port, this.#worker, this.#slot);
  }

  abort(reason: Error): void {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
  }
}

/** The context object that a processor gets. */
class AttemptContext implements JobContext {
  readonly [internals]: Omit<JobContext, 'attempt'>;
  readonly attempt: number;

  constructor(own: Omit<JobContext, 'attempt'>, attempt: number) {
    this.attempt = attempt;
    this[internals] = own;
  }

  get signal(): AbortSignal {
    return this[internals].signal;
  }

  get children(): JobContext['children'] {
    return this[internals].children;
  }
}
