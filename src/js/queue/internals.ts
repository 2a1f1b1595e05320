/** The private half of a queue: its native target, its listeners, its closing. */

import { checkNumber, MAX_MS, optionsOf, refuseUnknown } from '../arguments.js';
import type { RedisConfig } from '../config.js';
import { checkMade, isOurs } from '../copies.js';
import { RedisError } from '../errors.js';
import { internals } from '../internals.js';
import { Listeners } from '../listeners.js';
import { RedisConnectionManager } from '../manager.js';
import { verbs } from '../native.js';
import type { DeliveryHandler, EventHandler, Port } from '../port.js';
import type { IRedisConnection } from '../ports.js';
import { OptionsPacker } from './adding.js';
import { emitFleetEvents, emitOwnEvent, FLEET_EVENTS, QUEUE_EVENTS, type TaskQueueEvents } from './events.js';
import { type Job, type Snapshot, StoredJob } from './job.js';
import type { CloseOptions, JobState, TaskQueueOptions } from './options.js';
import type { WorkerQueue } from './worker-internals.js';

const V = verbs('queue', 'listen', 'unlisten', 'close');

/** The queues that listen to events. The set keeps them from being garbage-collected. */
const listening = new Set<object>();

/** The private state of a {@link TaskQueue}; reached by {@link internals}. */
export class QueueInternals<R> implements WorkerQueue {
  readonly name: string;
  readonly port: Port;
  readonly handle: number;
  readonly workers = new Set<{ close(options?: CloseOptions): Promise<boolean> }>();
  readonly listeners = new Listeners<TaskQueueEvents<R>>('TaskQueue', QUEUE_EVENTS);
  readonly packer: OptionsPacker;
  readonly manager: IRedisConnection;
  readonly #ownsManager: boolean;
  readonly #onEvent: EventHandler = (event) => this.handleEvent(event);
  readonly #onDelivery: DeliveryHandler = (values) => emitFleetEvents(this.listeners, values);
  #waits = 0;
  #live: Promise<void> | undefined;
  #isUnconfirmed = false;
  #closing: Promise<void> | undefined;
  #isClosed = false;

  constructor(name: string, connection: IRedisConnection | RedisConfig, options: TaskQueueOptions) {
    const { defaultJobOptions, ...rest } = options;
    this.packer = new OptionsPacker(defaultJobOptions);
    this.#ownsManager = !isOurs(connection) && !('command' in connection);
    if (!this.#ownsManager) checkMade('TaskQueue: connection', 'RedisConnectionManager', connection);
    this.manager = this.#ownsManager ? new RedisConnectionManager(connection as RedisConfig) : (connection as IRedisConnection);
    const { port, handle } = this.manager[internals];
    this.name = name;
    this.port = port;
    this.handle = port.open('queue', handle, { name, ...rest, defaultJobOptions: this.packer.crossingDefaults }, this);
    // Weak references: the port must not keep a queue that nobody uses. A listening queue is kept by `listening`.
    port.receiveWeakly(this.handle, this.#onDelivery);
    port.listenWeakly(this.handle, this.#onEvent);
    const self = new WeakRef(this);
    if (this.#ownsManager) this.manager.on('error', (error) => self.deref()?.listeners.emit('error', error));
  }

  call(what: string, verb: number, ...args: unknown[]): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(new RedisError('closed', `${what}: the queue is closed`));
    return this.port.callWith(this.handle, verb, args);
  }

  refuseClosed(what: string): void {
    if (this.#closing !== undefined) throw new RedisError('closed', `${what}: the queue is closed`);
  }

  nextWait(): number {
    this.#waits++;
    return this.#waits;
  }

  /** The added job, or the existing job with its id or dedupe id. Rust answers with `addedAt` 0 and a snapshot for an existing job. */
  job<T>(added: readonly unknown[], at: number, name: string, data: string, options: string | undefined, state: JobState): Job<T, R> {
    const addedAt = added[at] as number;
    if (addedAt === 0) return StoredJob.of<T, R>(this, added[at + 1] as Snapshot);
    const job = new StoredJob<T, R>(this, added[at + 1] as string, name, data, options, addedAt);
    job.state = state;
    return job;
  }

  handleEvent(event: { event: string; [field: string]: unknown }): void {
    if (event.event === 'closed') this.#silence();
    else emitOwnEvent(this.listeners, event);
  }

  /** Settles when the subscription is confirmed. If the last confirmation failed, it asks again. */
  get live(): Promise<void> {
    if (this.#live === undefined) return Promise.resolve();
    if (this.#isUnconfirmed) this.#listen();
    return this.#live;
  }

  /** Starts or stops the subscription, depending on whether fleet events have listeners. */
  follow(): void {
    const wanted = FLEET_EVENTS.some((event) => this.listeners.has(event));
    if (wanted && this.#live === undefined && this.#closing === undefined) {
      listening.add(this);
      this.port.retain();
      this.#listen();
    } else if (!wanted && this.#live !== undefined) {
      this.#silence();
      // A failure needs no report: nobody listens any more.
      this.port.callQuietly(this.handle, V.unlisten).catch(() => {});
    }
  }

  #listen(): void {
    const live = this.port.call(this.handle, V.listen) as Promise<void>;
    this.#live = live;
    this.#isUnconfirmed = false;
    live.catch((error: RedisError) => {
      // Listening was stopped, or started again, since this call: its failure no longer matters.
      if (this.#live !== live) return;
      this.#isUnconfirmed = true;
      // Rust goes on trying by itself. A closed manager reports its end with an event of its own.
      if (error.redisErrorKind !== 'closed') this.listeners.emit('error', error);
    });
  }

  #silence(): void {
    if (this.#live === undefined) return;
    this.#live = undefined;
    listening.delete(this);
    this.port.free();
  }

  close(options: CloseOptions | undefined): Promise<void> {
    try {
      const { graceMs, ...rest } = optionsOf('TaskQueue.close: options', options);
      refuseUnknown('TaskQueue.close', rest, ['graceMs']);
      if (graceMs !== undefined) checkNumber('TaskQueue.close: graceMs', ' of milliseconds', graceMs, 0, MAX_MS);
      // A worker that is already closing takes over a shorter `graceMs`.
      const workers = [...this.workers].map((worker) => worker.close({ graceMs }));
      this.#closing ??= this.#close(workers);
      return this.#closing;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #close(workers: Promise<boolean>[]): Promise<void> {
    // Processors that still run may add and read jobs until their workers have closed.
    this.#isClosed = workers.length === 0;
    const closed = await Promise.allSettled(workers);
    this.#isClosed = true;
    this.#silence();
    try {
      await this.port.call(this.handle, V.close);
    } finally {
      if (this.#ownsManager) await this.manager.disconnect();
    }
    for (const outcome of closed) if (outcome.status === 'rejected') throw outcome.reason;
  }
}
