/** One attempt of a job, in a worker. */

import { internals } from '../internals.js';
import { verbs } from '../native.js';
import type { Port } from '../port.js';
import { type Job, type JobQueue, StoredJob, type Writing, wellFormed } from './job.js';
import { parseStored } from './outcome.js';

const V = verbs('worker', 'updateData', 'updateProgress', 'log', 'children');

/** What a {@link Processor} gets beside the job. */
export interface JobContext {
  /**
   * Aborted when the attempt is over for the fleet, even if the processor still runs. Its reason is a RedisError of kind `lease-lost`,
   * `timeout` (`timeoutMs` of the job), `cancelled` ({@link Job.cancel}) or `closed` (the worker was closed by force, or the manager
   * disconnected). After `cancelled` the outcome still counts; after the others it does not.
   */
  readonly signal: AbortSignal;
  /** 1 for the first. */
  readonly attempt: number;
  /** The results of the job's children, by id; children of another queue by `queue:id`. */
  readonly children: () => Promise<Record<string, unknown>>;
}

/**
 * Does a job. Its result (`undefined`, or a value that JSON can express) completes the job; if it throws or rejects, the attempt has failed. It runs
 * in the async context of the {@link TaskQueue.process} call, with the job's `corrId`, if any, as {@link correlation}.
 */
export type Processor<T = unknown, R = unknown> = (job: Job<T, R>, context: JobContext) => R | Promise<R>;

/** The job of an attempt: what it writes carries the attempt's lease. */
export class HeldJob<T, R> extends StoredJob<T, R> {
  /** Of its options, which are parsed for it only where they name one. */
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

/** What an attempt writes, by its worker and the slot there. */
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

/** One attempt, as its worker has it. */
export class Attempt<T, R> {
  readonly job: HeldJob<T, R>;
  readonly context: JobContext;
  readonly #port: Port;
  readonly #worker: number;
  readonly #slot: number;
  /** Why it was cancelled, if it was. */
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

  // Made at the first look: most processors never ask.
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  // A function without `this`: all of a context works where it was taken out of it.
  get children(): JobContext['children'] {
    return () => childrenOf(this.#port, this.#worker, this.#slot);
  }

  abort(reason: Error): void {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
  }
}

/** What a processor is given beside the job. */
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
