/** The private half of a worker: it runs processors, collects their outcomes and sends them together. */

import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { checkFlag, checkFunction, checkNumber, json, MAX_MS, optionsOf, refuseUnknown } from '../arguments.js';
import { CLAIMED_VALUES, ENDED_VALUES, OUTCOME_VALUES, OutcomeKind, REFUSED_VALUES, WorkerDelivery } from '../codes.js';
import { type Failure, RedisError, toError } from '../errors.js';
import { internals } from '../internals.js';
import { Listeners } from '../listeners.js';
import { verbs } from '../native.js';
import type { DeliveryHandler, EventHandler, Port } from '../port.js';
import type { IRedisConnection } from '../ports.js';
import type { WorkerCommand, WorkerStatus } from '../registry-worker.js';
import { runIn } from '../scope.js';
import { Attempt, HeldJob, type JobContext, type Processor } from './attempt.js';
import { DelayError, UnrecoverableError } from './errors.js';
import type { Job, JobQueue } from './job.js';
import type { CloseOptions, TaskWorkerRegistry, WorkerOptions } from './options.js';
import { reasonOf, stackOf } from './outcome.js';
import { checkRegistry, type Registrant, Registration } from './registration.js';

/** The events of a {@link TaskWorker}. They report only what this worker does. */
export interface TaskWorkerEvents<T = unknown, R = unknown> {
  /** A job's processor starts. */
  active: [job: Job<T, R>];
  /** A processor has returned. The queue's event of the same name says that Redis has the result. */
  completed: [job: Job<T, R>, result: R];
  /** A processor has thrown `error`. The queue's events say whether the job is retried (`retrying`, `failed`). */
  failed: [job: Job<T, R>, error: unknown];
  /** No job waits and no job runs. Emitted once per idle period. */
  idle: [];
  /**
   * Redis could not be reached; a job's lease was lost or its outcome refused (kind `lease-lost`); a queue refused a message; or records were damaged
   * (kind `serialization`). Without a listener nothing is thrown; the worker goes on.
   */
  error: [error: RedisError];
  /** The worker takes no more jobs: it was closed, or its manager was disconnected. */
  closed: [];
}

const EVENTS = ['active', 'completed', 'failed', 'idle', 'error', 'closed'] as const;

const V = verbs('worker', 'run', 'pause', 'close', 'settle', 'owner');

/** The smallest number of collected outcomes that is sent at once, without waiting for more. */
const MIN_BATCH = 16;

const settled: Promise<void> = Promise.resolve();
/** The running workers. The set keeps them from being garbage-collected. */
const running = new Set<object>();

/** The part of a queue that a worker uses. */
export interface WorkerQueue extends JobQueue {
  readonly name: string;
  readonly manager: IRedisConnection;
  readonly workers: Set<{ close(options?: CloseOptions): Promise<boolean> }>;
}

/** The private state of a {@link TaskWorker}; reached by {@link internals}. */
export class WorkerInternals<T, R> implements Registrant {
  readonly queue: WorkerQueue;
  readonly port: Port;
  readonly handle: number;
  readonly listeners = new Listeners<TaskWorkerEvents<T, R>>('TaskWorker', EVENTS);
  readonly type: string;
  readonly capacity: number;
  readonly #processor: Processor<T, R>;
  readonly #enterContext = AsyncLocalStorage.snapshot();
  readonly #attempts = new Map<number, Attempt<T, R>>();
  readonly #registration: Registration | undefined;
  readonly #flush = (): void => this.#settle();
  readonly #onEvent: EventHandler = (event) => this.handleEvent(event);
  readonly #onDelivery: DeliveryHandler = (values) => this.receive(values);
  #outcomes: unknown[] = [];
  /** The length of `#outcomes` from which they are sent at once. */
  readonly #sendFrom: number;
  #isRunning = false;
  #isPaused = false;
  #closing: Promise<boolean> | undefined;

  constructor(queue: WorkerQueue, processor: Processor<T, R>, options: WorkerOptions) {
    checkFunction('TaskQueue.process: processor', processor);
    const { autorun, registry, ...rest } = options;
    checkFlag('TaskQueue.process: autorun', autorun);
    checkRegistry(registry);
    this.queue = queue;
    this.port = queue.port;
    this.handle = queue.port.open('worker', queue.handle, rest, this);
    this.type = queue.name;
    this.capacity = rest.concurrency ?? 1;
    this.#sendFrom = OUTCOME_VALUES * Math.max(MIN_BATCH, Math.ceil(this.capacity / 2));
    this.#processor = processor;
    this.#registration = registry === undefined ? undefined : new Registration(registry, this);
    // Weak references: the port must not keep a worker that nobody uses. A running worker is kept by `running`.
    this.port.receiveWeakly(this.handle, this.#onDelivery);
    this.port.listenWeakly(this.handle, this.#onEvent);
    if (autorun !== false) this.run();
  }

  get isRunning(): boolean {
    return this.#isRunning && !this.#isPaused && this.#closing === undefined;
  }

  run(): void {
    this.#refuseClosed('run');
    this.#isPaused = false;
    if (this.#isRunning) {
      this.#emitFailure(this.port.call(this.handle, V.run));
      this.#reportStatus();
      return;
    }
    this.#isRunning = true;
    running.add(this);
    this.queue.workers.add(this);
    this.port.retain();
    this.#emitFailure(this.#registerAndRun());
  }

  async #registerAndRun(): Promise<void> {
    // The worker registers before its first claim, so that the lease of the first job already names the registration.
    await this.#registration?.register();
    if (this.#closing === undefined && !this.#isPaused) await this.port.call(this.handle, V.run);
  }

  async pause(): Promise<void> {
    this.#refuseClosed('pause');
    this.#isPaused = true;
    const paused = this.port.call(this.handle, V.pause);
    this.#reportStatus();
    await paused;
  }

  close(options?: CloseOptions): Promise<boolean> {
    try {
      const { graceMs, ...rest } = optionsOf('TaskWorker.close: options', options);
      refuseUnknown('TaskWorker.close', rest, ['graceMs']);
      if (graceMs !== undefined) checkNumber('TaskWorker.close: graceMs', ' of milliseconds', graceMs, 0, MAX_MS);
      if (this.#closing === undefined) {
        this.#closing = this.#close(graceMs);
        this.#reportStatus();
      } else if (graceMs !== undefined) {
        // The shortest `graceMs` of all calls counts. The promise of the first call reports the outcome, so this call needs no answer.
        this.port.post(this.handle, V.close, [graceMs]);
      }
      return this.#closing;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #close(graceMs: number | undefined): Promise<boolean> {
    try {
      return (await this.port.call(this.handle, V.close, graceMs)) as boolean;
    } finally {
      await this.#registration?.end();
      this.#end();
      this.port.release(this.handle);
    }
  }

  /** Marks the worker as ended. It no longer keeps the process alive. */
  #end(): void {
    if (this.#isRunning) {
      this.#isRunning = false;
      running.delete(this);
      this.queue.workers.delete(this);
      this.port.free();
    }
    this.listeners.emit('closed');
  }

  receive(values: unknown[]): void {
    switch (values[0] as WorkerDelivery) {
      case WorkerDelivery.Jobs:
        for (let at = 1; at < values.length; at += CLAIMED_VALUES) this.#start(values, at);
        break;
      case WorkerDelivery.Ended:
        for (let at = 1; at < values.length; at += ENDED_VALUES) {
          this.#abort(values[at] as number, values[at + 1] as string, values[at + 2] as string | null);
        }
        break;
      case WorkerDelivery.Refused:
        for (let at = 1; at < values.length; at += REFUSED_VALUES) {
          const message = `TaskWorker: job ${String(values[at])}: ${String(values[at + 1])}`;
          this.listeners.emit('error', new RedisError('lease-lost', message, { delivery: 'rejected' }));
        }
        break;
    }
    this.#reportStatus();
  }

  handleEvent(event: { event: string; [field: string]: unknown }): void {
    switch (event.event) {
      case 'idle':
        this.listeners.emit('idle');
        this.#reportStatus();
        break;
      case 'error':
        this.listeners.emit('error', toError(event.error as Failure) as RedisError);
        break;
      case 'closed':
        if (this.#closing === undefined) this.#closing = this.#managerClosed();
        break;
    }
  }

  /** The manager was disconnected, so jobs cannot be handed back. */
  async #managerClosed(): Promise<boolean> {
    const hadNone = this.#attempts.size === 0;
    await this.#registration?.end();
    this.#end();
    this.port.release(this.handle);
    return hadNone;
  }

  #start(values: unknown[], at: number): void {
    const slot = values[at] as number;
    const job = new HeldJob<T, R>(this.queue, this.handle, values, at);
    try {
      // The data are parsed here, so that a job with damaged data fails even if its processor ignores them.
      void job.data;
    } catch (error) {
      this.#failed(slot, job, error, OutcomeKind.FailedForGood);
      return;
    }
    const attempt = new Attempt<T, R>(job, this.port, this.handle, slot);
    this.#attempts.set(slot, attempt);
    this.listeners.emit('active', job);
    let returned: unknown;
    try {
      returned = this.#enterContext(runAlone, this.#processor, job, attempt.context);
    } catch (error) {
      this.#threw(slot, attempt, error);
      return;
    }
    if ((typeof returned !== 'object' && typeof returned !== 'function') || returned === null) {
      this.#returned(slot, attempt, returned);
      return;
    }
    Promise.resolve(returned).then(
      (value) => this.#returned(slot, attempt, value),
      (error: unknown) => this.#threw(slot, attempt, error),
    );
  }

  #returned(slot: number, attempt: Attempt<T, R>, value: unknown): void {
    // Redis has already ended this attempt, so its outcome is not reported.
    if (!this.#attempts.delete(slot)) return;
    const text = value === undefined ? undefined : json('processor: result', value);
    if (typeof text === 'object') {
      this.#failed(slot, attempt.job, text, OutcomeKind.Failed);
      return;
    }
    this.#collect(slot, OutcomeKind.Completed, text, undefined);
    this.listeners.emit('completed', attempt.job, value as R);
  }

  #threw(slot: number, attempt: Attempt<T, R>, error: unknown): void {
    if (!this.#attempts.delete(slot)) return;
    if (error instanceof DelayError && attempt.cancelled === undefined) {
      this.#collect(slot, OutcomeKind.Delayed, error.delayMs, undefined);
    } else if (attempt.cancelled !== undefined) {
      this.#failed(slot, attempt.job, error, OutcomeKind.FailedForGood, attempt.cancelled);
    } else {
      this.#failed(slot, attempt.job, error, error instanceof UnrecoverableError ? OutcomeKind.FailedForGood : OutcomeKind.Failed);
    }
  }

  #failed(slot: number, job: HeldJob<T, R>, error: unknown, outcome: OutcomeKind, reason = reasonOf(error)): void {
    this.#collect(slot, outcome, reason, stackOf(error));
    this.listeners.emit('failed', job, error);
  }

  /**
   * Outcomes of one run of promise jobs go to Rust in one call. If half of the worker's capacity ends together, these outcomes are sent at once, so
   * that the server works on them while further processors run.
   */
  #collect(slot: number, outcome: OutcomeKind, a: unknown, b: unknown): void {
    if (this.#outcomes.length === 0) settled.then(this.#flush);
    this.#outcomes.push(slot, outcome, a, b);
    if (this.#outcomes.length >= this.#sendFrom) this.#settle();
  }

  #settle(): void {
    const outcomes = this.#outcomes;
    if (outcomes.length === 0) return;
    this.#outcomes = [];
    try {
      this.port.post(this.handle, V.settle, outcomes);
    } catch (error) {
      this.failed(error);
    }
    this.#reportStatus();
  }

  #abort(slot: number, why: string, text: string | null): void {
    const attempt = this.#attempts.get(slot);
    if (attempt === undefined) return;
    if (why === 'cancelled') {
      attempt.cancelled = text ?? 'cancelled';
      attempt.abort(new RedisError('cancelled', `the job was cancelled${text === null ? '' : `: ${text}`}`));
      return;
    }
    // Redis has ended the attempt and settled the job, so the processor's later outcome is ignored.
    this.#attempts.delete(slot);
    const error = abortReason(why, text);
    attempt.abort(error);
    if (why !== 'lease-lost') return;
    const message = `TaskWorker: job ${attempt.job.id}: its lease was lost while it was in hand`;
    this.listeners.emit('error', new RedisError('lease-lost', message, { delivery: 'rejected', cause: error }));
  }

  /** Reports the worker's status and load to the registry. */
  #reportStatus(): void {
    if (this.#registration === undefined || !this.#isRunning) return;
    const inHand = this.#attempts.size;
    let status: WorkerStatus = inHand === 0 ? 'idle' : 'busy';
    if (this.#closing !== undefined) status = 'draining';
    else if (this.#isPaused) status = 'paused';
    this.#registration.report(status, inHand);
  }

  async owned(id: string, epoch: number, registry: TaskWorkerRegistry): Promise<void> {
    const own = (registry as { [internals]?: { namespace: string; manager: IRedisConnection } | undefined })[internals];
    // Rust receives death notices only from the queue's own manager. With another manager a crashed worker's jobs wait for the end of its lease.
    if (own !== undefined && own.manager[internals] === this.queue.manager[internals])
      await this.port.call(this.handle, V.owner, id, epoch, own.namespace);
  }

  execute(command: WorkerCommand): void {
    if (this.#closing !== undefined) return;
    if (command.name === 'resume') this.run();
    else this.#emitFailure(command.name === 'pause' ? this.pause() : this.close());
  }

  failed(error: unknown): void {
    this.listeners.emit('error', asRedisError(error));
  }

  /** Emits the error of a call that nobody waits for. */
  #emitFailure(call: Promise<unknown>): void {
    call.catch((error: unknown) => {
      // The call failed because the worker was closed meanwhile, which is no error.
      if (this.#closing !== undefined && error instanceof RedisError && error.redisErrorKind === 'closed') return;
      this.failed(error);
    });
  }

  #refuseClosed(method: string): void {
    if (this.#closing !== undefined) throw new RedisError('closed', `TaskWorker.${method}: the worker is closed`);
  }
}

/** Runs a processor in its own async context with the job's `corrId`, so that `AsyncLocalStorage.enterWith` in one job does not reach the next job. */
function runAlone<T, R>(processor: Processor<T, R>, job: HeldJob<T, R>, context: JobContext): R | Promise<R> {
  if (job.corrId !== undefined) return runIn({ corrId: job.corrId }, processor, job as Job<T, R>, context);
  return new AsyncResource('TaskWorker').runInAsyncScope(processor, undefined, job, context);
}

function abortReason(why: string, text: string | null): RedisError {
  switch (why) {
    case 'timeout':
      return new RedisError('timeout', text ?? 'the attempt took longer than timeoutMs');
    case 'lease-lost':
      return new RedisError('lease-lost', text ?? 'the lease of the job was lost');
    default:
      return new RedisError('closed', text ?? 'the worker was closed before the attempt had ended');
  }
}

function asRedisError(error: unknown): RedisError {
  if (error instanceof RedisError) return error;
  return new RedisError('connection', `TaskWorker: registry: ${reasonOf(error)}`, { cause: error });
}
