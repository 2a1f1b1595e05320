/** A task worker's registration in a registry: it reports status and load, and receives commands. */

import { checkMade, isOurs } from '../copies.js';
import { configError, RedisError } from '../errors.js';
import type { WorkerCommand, WorkerStatus } from '../registry-worker.js';
import type { TaskWorkerRegistry } from './options.js';

/** The worker that is registered. None of its methods throws. */
export interface Registrant {
  readonly type: string;
  readonly capacity: number;
  /** Called after each registration: the worker's leases belong to `id` and `epoch` from now on. */
  owned(id: string, epoch: number, registry: TaskWorkerRegistry): Promise<void>;
  /** Called for each command from the registry. */
  execute(command: WorkerCommand): void;
  /** Called with each error of the registration. */
  failed(error: unknown): void;
}

/** Throws unless `registry` can serve a worker. */
export function checkRegistry(registry: TaskWorkerRegistry | undefined): void {
  if (registry === undefined) return;
  if (isOurs(registry)) checkMade('TaskQueue.process: registry', 'WorkerRegistry', registry);
  for (const method of ['register', 'heartbeat', 'unregister'] as const) {
    if (typeof (registry as TaskWorkerRegistry | null)?.[method] !== 'function') {
      throw configError('TaskQueue.process: registry', 'a WorkerRegistry', registry);
    }
  }
}

/**
 * Keeps one registration current. Changes that come while a change is being sent are sent together afterwards. A registration that failed, or that
 * the registry no longer knows, is made again with the next change. Jobs never wait for the registry.
 */
export class Registration {
  readonly #registry: TaskWorkerRegistry;
  readonly #registrant: Registrant;
  readonly #onCommand = (command: WorkerCommand, worker: { id: string }): void => {
    if (worker.id === this.#id) this.#registrant.execute(command);
  };
  readonly #onFenced = (worker: { id: string }, next: { id: string; epoch: number } | null): void => {
    if (worker.id === this.#id) void this.#replaced(next);
  };
  #id: string | undefined;
  #current: { status: WorkerStatus; load: number } = { status: 'idle', load: 0 };
  #sentStatus: WorkerStatus = 'idle';
  #syncing: Promise<void> | undefined;
  #ended = false;

  constructor(registry: TaskWorkerRegistry, registrant: Registrant) {
    this.#registry = registry;
    this.#registrant = registrant;
  }

  /** Registers the worker; resolves after the first attempt, also if it failed. Never rejects. */
  register(): Promise<void> {
    this.#registry.on?.('command', this.#onCommand);
    this.#registry.on?.('fenced', this.#onFenced);
    return this.#sync();
  }

  /** Reports the current status and the number of running jobs. */
  report(status: WorkerStatus, inHand: number): void {
    const load = inHand / this.#registrant.capacity;
    this.#current = { status, load };
    if (this.#id !== undefined && this.#sentStatus === status) this.#registry.report?.(this.#id, { load });
    else void this.#sync();
  }

  /** Unregisters the worker, after the calls in progress have ended. Never rejects. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#registry.off?.('command', this.#onCommand as never);
    this.#registry.off?.('fenced', this.#onFenced as never);
    await this.#syncing;
    const id = this.#id;
    this.#id = undefined;
    if (id === undefined) return;
    try {
      await this.#registry.unregister(id);
    } catch (error) {
      // The registration ends by itself when its connection is closed.
      if (!(error instanceof RedisError && error.redisErrorKind === 'closed')) this.#registrant.failed(error);
    }
  }

  #sync(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    this.#syncing ??= this.#sendChanges().finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  async #sendChanges(): Promise<void> {
    try {
      do {
        if (this.#id === undefined) await this.#register();
        const { status, load } = this.#current;
        if (this.#id === undefined || this.#sentStatus === status) continue;
        this.#sentStatus = status;
        // `false`: the registration has ended, or another process has registered the id.
        if (!(await this.#registry.heartbeat(this.#id, { status, load }))) this.#id = undefined;
      } while (!this.#ended && (this.#id === undefined || this.#sentStatus !== this.#current.status));
    } catch (error) {
      this.#registrant.failed(error);
    }
  }

  async #register(): Promise<void> {
    const { type, capacity } = this.#registrant;
    const { id, epoch } = await this.#registry.register({ type, capacity, metadata: { queue: type } });
    this.#id = id;
    this.#sentStatus = 'idle';
    await this.#registrant.owned(id, epoch, this.#registry);
  }

  /** The registration was lost. `next` is the new registration, or `null` if the registry made none. */
  async #replaced(next: { id: string; epoch: number } | null): Promise<void> {
    this.#id = next?.id;
    this.#sentStatus = 'idle';
    try {
      if (next !== null) await this.#registrant.owned(next.id, next.epoch, this.#registry);
    } catch (error) {
      this.#registrant.failed(error);
    }
    await this.#sync();
  }
}
