/** A worker's entry in a registry: who it is, how busy it is, what it is told to do. */

import { checkMade, isOurs } from '../copies.js';
import { configError, RedisError } from '../errors.js';
import type { WorkerCommand, WorkerStatus } from '../registry-worker.js';
import type { TaskWorkerRegistry } from './options.js';

/** Who a registration is for. None of its methods throws. */
export interface Registrant {
  readonly type: string;
  readonly capacity: number;
  /** Is told whom the leases belong to from now on. */
  owned(id: string, epoch: number, registry: TaskWorkerRegistry): Promise<void>;
  /** Is told to do something. */
  obey(command: WorkerCommand): void;
  /** Is told what went wrong. */
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
 * Keeps one registration current. Changes that come while one is being sent are sent as one; a registration that failed, or that the
 * registry does not know any more, is made again with the next change. Nothing here holds a job up.
 */
export class Registration {
  readonly #registry: TaskWorkerRegistry;
  readonly #who: Registrant;
  readonly #commanded = (command: WorkerCommand, worker: { id: string }): void => {
    if (worker.id === this.#id) this.#who.obey(command);
  };
  readonly #fenced = (worker: { id: string }, next: { id: string; epoch: number } | null): void => {
    if (worker.id === this.#id) void this.#succeeded(next);
  };
  #id: string | undefined;
  #wanted: { status: WorkerStatus; load: number } = { status: 'idle', load: 0 };
  #told: WorkerStatus = 'idle';
  #busy: Promise<void> | undefined;
  #ended = false;

  constructor(registry: TaskWorkerRegistry, who: Registrant) {
    this.#registry = registry;
    this.#who = who;
  }

  /** Registers; resolves when that has been tried. Never rejects. */
  begin(): Promise<void> {
    this.#registry.on?.('command', this.#commanded);
    this.#registry.on?.('fenced', this.#fenced);
    return this.#work();
  }

  /** Tells what is so now. */
  tell(status: WorkerStatus, inHand: number): void {
    const load = inHand / this.#who.capacity;
    this.#wanted = { status, load };
    if (this.#id !== undefined && this.#told === status) this.#registry.report?.(this.#id, { load });
    else void this.#work();
  }

  /** Unregisters, once what runs has ended. Never rejects. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#registry.off?.('command', this.#commanded as never);
    this.#registry.off?.('fenced', this.#fenced as never);
    await this.#busy;
    const id = this.#id;
    this.#id = undefined;
    if (id === undefined) return;
    try {
      await this.#registry.unregister(id);
    } catch (error) {
      // With its connection closed, the registration runs out by itself.
      if (!(error instanceof RedisError && error.redisErrorKind === 'closed')) this.#who.failed(error);
    }
  }

  #work(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    this.#busy ??= this.#catchUp().finally(() => {
      this.#busy = undefined;
    });
    return this.#busy;
  }

  async #catchUp(): Promise<void> {
    try {
      do {
        if (this.#id === undefined) await this.#register();
        const { status, load } = this.#wanted;
        if (this.#id === undefined || this.#told === status) continue;
        this.#told = status;
        // The registry has forgotten it, or it was registered by another one.
        if (!(await this.#registry.heartbeat(this.#id, { status, load }))) this.#id = undefined;
      } while (!this.#ended && (this.#id === undefined || this.#told !== this.#wanted.status));
    } catch (error) {
      this.#who.failed(error);
    }
  }

  async #register(): Promise<void> {
    const { type, capacity } = this.#who;
    const { id, epoch } = await this.#registry.register({ type, capacity, metadata: { queue: type } });
    this.#id = id;
    this.#told = 'idle';
    await this.#who.owned(id, epoch, this.#registry);
  }

  /** The registry took the registration for dead; it has made a new one, or not. */
  async #succeeded(next: { id: string; epoch: number } | null): Promise<void> {
    this.#id = next?.id;
    this.#told = 'idle';
    try {
      if (next !== null) await this.#who.owned(next.id, next.epoch, this.#registry);
    } catch (error) {
      this.#who.failed(error);
    }
    await this.#work();
  }
}
