/** The worker registry. */

import { hostname } from 'node:os';
import { optionsOf, refuseUnknown } from './arguments.js';
import { type ClaimRequest, HeldClaim, type WorkerClaim } from './claim.js';
import { checkMade, keep } from './copies.js';
import type { Endpoint } from './diagnostics.js';
import { configError, RedisError } from './errors.js';
import { internals } from './internals.js';
import { type ElectOptions, type Leadership, type LeadershipTarget, lead } from './leadership.js';
import { Listeners } from './listeners.js';
import { verbs } from './native.js';
import { type DeliveryHandler, type EventHandler, optionsJson, type Port } from './port.js';
import type { IRedisConnection } from './ports.js';
import {
  capabilitiesOf,
  type HeartbeatUpdate,
  type MalformedRecord,
  metadataJson,
  type RegistryEvents,
  strictJson,
  type WorkerCommand,
  type WorkerCount,
  type WorkerEvent,
  type WorkerFilter,
  type WorkerHealth,
  type WorkerInfo,
  type WorkerRegistration,
  type WorkerStatus,
} from './registry-worker.js';

/** Options of a {@link WorkerRegistry}. Unknown names are refused. Times are whole milliseconds up to 2 147 483 647. */
export interface WorkerRegistryOptions {
  /**
   * A prefix of every key of this registry, inside the manager's namespace. Registries with the same namespace are the same registry. Default: none.
   */
  namespace?: string | undefined;
  /** The time between two heartbeats of a worker, from 10. Default 5 000. */
  heartbeatIntervalMs?: number | undefined;
  /**
   * Time without a heartbeat after which a worker is `degraded` (`late`). More than `heartbeatIntervalMs`. Default 2.5 times `heartbeatIntervalMs`.
   */
  degradedAfterMs?: number | undefined;
  /**
   * Time without a heartbeat after which a worker is overdue. It is declared `crashed` one `heartbeatIntervalMs` later, so that a heartbeat on its way
   * still counts. More than `degradedAfterMs`. Default 6 times `heartbeatIntervalMs`.
   */
  crashedAfterMs?: number | undefined;
  /** How long a crashed worker stays listed, from 0. Default 3 600 000, an hour. */
  forgetAfterMs?: number | undefined;
  /** An event loop that has not answered for this long is stalled, from 10. Default `heartbeatIntervalMs`. */
  stalledAfterMs?: number | undefined;
  /**
   * `true`: a Rust thread sends heartbeats, and registers workers again after another process ended their registration. `false`: only calls of
   * `heartbeat()` send heartbeats. Default true.
   */
  autoHeartbeat?: boolean | undefined;
  /**
   * If more than this share of the fleet, and at least `stormMinimum` workers, become overdue together, a fault of the network or the server is
   * assumed. The health of these workers is `unknown` for one `crashedAfterMs` and an interval. Then they are declared crashed a few at a time: per
   * interval the larger of `stormMinimum` and a hundredth of the fleet. Above 0, up to 1 (never). Default 0.3.
   */
  stormShare?: number | undefined;
  /** The smallest number of overdue workers for `stormShare`: a whole number from 1. Default 5. */
  stormMinimum?: number | undefined;
}

const V = verbs(
  'registry',
  'register',
  'heartbeat',
  'report',
  'setStatus',
  'unregister',
  'cleanup',
  'get',
  'list',
  'count',
  'reap',
  'claim',
  'send',
  'tick',
  'watch',
  'unwatch',
  'taken',
  'events',
);

const FLEET = ['joined', 'left', 'status', 'degraded', 'recovered', 'crashed'] as const;
const LOCAL = ['fenced', 'command', 'malformed', 'gap', 'error'] as const;
const COMMANDS: readonly string[] = ['pause', 'resume', 'drain', 'shutdown'];
/** The resident memory in bytes. `memoryUsage.rss()` is cheaper than `memoryUsage()`, but other runtimes than Node may not have it. */
function residentMemory(): number {
  return process.memoryUsage.rss === undefined ? process.memoryUsage().rss : process.memoryUsage.rss();
}

/** The registries that must not be garbage-collected: they have workers, listeners of fleet events, or leaderships. */
const inUse = new Map<RegistryInternals, WorkerRegistry>();

/**
 * The private state of a registry; reached by {@link internals}. It has no reference to the registry, so that the registry can be garbage-collected.
 */
class RegistryInternals implements LeadershipTarget {
  readonly port: Port;
  readonly handle: number;
  readonly endpoint: Endpoint;
  readonly manager: IRedisConnection;
  /** The namespace of the registry, inside the manager's namespace. */
  readonly namespace: string;
  /** The workers of this process. */
  workers = new Map<string, WorkerInfo>();
  readonly listeners = new Listeners<RegistryEvents>('WorkerRegistry', [...FLEET, ...LOCAL]);
  /** Resolves when no later event is missed. Rejects with the reason if the events cannot be read yet. */
  watching: Promise<void> | undefined;
  readonly #onEvent: EventHandler = (event) => this.#handleEvent(event);
  readonly #onDelivery: DeliveryHandler = (events) => this.#emitEvents(events as WorkerEvent[]);
  #isWatchAsked = false;
  #leading = 0;
  #lastId = 0;

  constructor(owner: WorkerRegistry, manager: IRedisConnection, options: WorkerRegistryOptions) {
    const { port, handle, endpoint } = manager[internals];
    this.port = port;
    this.handle = port.open('registry', handle, options, owner);
    this.endpoint = endpoint;
    this.manager = manager;
    this.namespace = options.namespace ?? '';
    // Weak references: the port must not keep a registry that nobody uses. A registry in use is kept by `inUse`.
    port.listenWeakly(this.handle, this.#onEvent);
    port.receiveWeakly(this.handle, this.#onDelivery);
  }

  nextId(): number {
    this.#lastId++;
    return this.#lastId;
  }

  lead(leading: number): void {
    this.#leading += leading;
    if (this.#leading === 0) this.updateInUse(undefined);
  }

  /** Adds the registry to `inUse`, or removes it, depending on whether it is in use. */
  updateInUse(owner: WorkerRegistry | undefined): void {
    const used = this.workers.size > 0 || this.watching !== undefined || this.#leading > 0;
    if (!used) inUse.delete(this);
    else if (owner !== undefined) inUse.set(this, owner);
  }

  /** Starts to read events if fleet events have listeners. After a failure Rust tries again by itself, and this call waits for that attempt. */
  watch(owner: WorkerRegistry): void {
    if (this.#isWatchAsked || !this.#hasFleetListeners()) return;
    // A live subscription keeps the process alive.
    if (this.watching === undefined) this.port.retain();
    this.#isWatchAsked = true;
    const watching = this.port.call(this.handle, V.watch).then(() => {});
    this.watching = watching;
    this.updateInUse(owner);
    watching.catch((error: unknown) => {
      if (this.watching !== watching) return;
      this.#isWatchAsked = false;
      if (error instanceof RedisError) this.emit('error', error);
    });
  }

  /** Stops reading events if no fleet event has a listener any more. */
  unwatch(): void {
    if (this.watching === undefined || this.#hasFleetListeners()) return;
    // A failure needs no report: the call only changes state of this process.
    this.port.callQuietly(this.handle, V.unwatch).catch(() => {});
    this.unwatched();
  }

  unwatched(): void {
    if (this.watching === undefined) return;
    this.watching = undefined;
    this.#isWatchAsked = false;
    this.port.free();
    this.updateInUse(undefined);
  }

  emit<E extends keyof RegistryEvents>(name: E, ...args: RegistryEvents[E]): void {
    this.listeners.emit(name, ...args);
  }

  #hasFleetListeners(): boolean {
    return FLEET.some((event) => this.listeners.has(event));
  }

  #handleEvent(event: { event: string; [field: string]: unknown }): void {
    switch (event.event) {
      case 'tick':
        // A failure needs no report: Rust pings the event loop again.
        this.port.callQuietly(this.handle, V.tick, event.number, residentMemory()).catch(() => {});
        break;
      case 'fenced':
        this.#fenced(event.id as string, event.epoch as number, event.next as WorkerInfo | null);
        break;
      case 'command': {
        const worker = this.workers.get(event.id as string);
        if (worker !== undefined) this.emit('command', event.command as WorkerCommand, worker);
        break;
      }
      case 'malformed':
        this.emit('malformed', { part: event.part as MalformedRecord['part'], of: event.of as string });
        break;
      case 'gap':
        this.emit('gap', { missed: event.missed as number });
        break;
      case 'ended':
        this.unwatched();
        break;
    }
  }

  #fenced(id: string, epoch: number, next: WorkerInfo | null): void {
    const worker = this.workers.get(id);
    if (worker === undefined || worker.epoch !== epoch) return;
    if (next === null) this.workers.delete(id);
    else this.workers.set(id, next);
    this.updateInUse(undefined);
    this.emit('fenced', worker, next);
  }

  #emitEvents(events: WorkerEvent[]): void {
    for (const { event, worker } of events) this.emit(event, worker);
    this.port.callQuietly(this.handle, V.taken, events.length).catch(() => {});
  }
}

/**
 * The workers of a fleet, which is all processes with the same registry. Workers register with their capabilities and send heartbeats; other processes
 * find them, claim them, and learn of their crashes.
 *
 * - Time is the server's; clocks of workers and observers may differ by hours.
 * - Automatic heartbeats run on a Rust thread. They go on while the event loop is blocked, and report it (`degraded`, `event-loop-stalled`) after
 *   `stalledAfterMs`. One call carries the heartbeats of all workers of a registry.
 * - A second registration of an id starts a new `epoch`. From then on the old holder's heartbeats are refused, and its registry emits `fenced`.
 * - A registered worker does not keep its process alive; a listener of a fleet event does, until it is removed or `cleanup()`.
 * - If a process or worker thread ends without `cleanup()`, its workers are declared crashed: at once if there was time to report the end, else when
 *   their heartbeats are overdue.
 * - Every method may reject with kind `connection`, `timeout`, `closed` or `overloaded`; a bad argument with `config`, naming it.
 *
 * @example
 * const registry = new WorkerRegistry(manager);
 * const worker = await registry.register({ type: 'mailer', capabilities: ['mail'] });
 * registry.on('crashed', ({ id }) => console.log(`${id} crashed`));
 */
export class WorkerRegistry {
  /** @internal */
  declare readonly [internals]: RegistryInternals;

  /**
   * Opens and starts nothing before the first worker or listener.
   *
   * @throws RedisError of kind `config`, naming the option, or both options that contradict each other.
   */
  constructor(manager: IRedisConnection, options?: WorkerRegistryOptions) {
    checkMade('WorkerRegistry: manager', 'RedisConnectionManager', manager);
    const registry = new RegistryInternals(this, manager, optionsOf('WorkerRegistry: options', options));
    keep(this, 'WorkerRegistry', registry);
  }

  /**
   * Registers a worker under a new epoch. An earlier registration of the id ends. One call never registers a worker twice, even if the connection is
   * lost and the call is sent again.
   *
   * If the call rejects, the worker is not registered, or its registration ends as overdue. An earlier worker of this registry with the same id goes
   * on, under a new epoch if the server had ended its registration (`fenced`).
   *
   * @throws RedisError of kind `cancelled` if {@link unregister} of the id or {@link cleanup} was called before the worker was registered.
   */
  async register(worker: WorkerRegistration = {}): Promise<WorkerInfo> {
    const registry = this[internals];
    const options = optionsOf('WorkerRegistry.register: worker', worker);
    const metadata = metadataJson('WorkerRegistry.register: metadata', options.metadata);
    const text = optionsJson(options, { metadata: undefined });
    // `cleanup()` replaces the map. A worker whose answer arrives after `cleanup()` goes into the old map, which is no longer used.
    const { workers } = registry;
    const info = (await call(this[internals], V.register, text, metadata, hostname())) as WorkerInfo;
    workers.set(info.id, info);
    registry.updateInUse(this);
    registry.watch(this);
    return info;
  }

  /**
   * Sends a heartbeat of a worker of this registry, with its changes. Calls made at once go to the server together.
   *
   * @returns `false` if the worker's registration is over (see the event `fenced`), or if this registry never registered the worker.
   */
  async heartbeat(id: string, update?: HeartbeatUpdate): Promise<boolean> {
    if (update === undefined) return (await call(this[internals], V.heartbeat, id)) as boolean;
    const { status, load, metadata, degraded, ...rest } = optionsOf('WorkerRegistry.heartbeat: update', update);
    refuseUnknown('WorkerRegistry.heartbeat', rest, ['status', 'load', 'metadata', 'degraded']);
    const text = metadataJson('WorkerRegistry.heartbeat: metadata', metadata);
    return (await call(this[internals], V.heartbeat, id, load, degraded, status, text)) as boolean;
  }

  /**
   * Sets values for the next automatic heartbeat of a worker, and sends nothing itself. A worker that this registry did not register is ignored.
   */
  report(id: string, now: { load?: number | undefined; degraded?: boolean | undefined }): void {
    const { load, degraded, ...rest } = optionsOf('WorkerRegistry.report: now', now);
    refuseUnknown('WorkerRegistry.report', rest, ['load', 'degraded']);
    if (load !== undefined && !(typeof load === 'number' && load >= 0 && load <= 1e9)) {
      throw configError('WorkerRegistry.report: load', 'a number from 0 to 1000000000', load);
    }
    if (degraded !== undefined && typeof degraded !== 'boolean') {
      throw configError('WorkerRegistry.report: degraded', 'true or false', degraded);
    }
    const { port, handle } = this[internals];
    port.callQuietly(handle, V.report, id, load, degraded).catch((error: unknown) => {
      if (error instanceof RedisError) this[internals].emit('error', error);
    });
  }

  /**
   * Declares the status of a worker of this registry, or of any worker of the fleet that this registry never held.
   *
   * @returns `false` if the worker is not registered, has crashed, or its registration by this registry is over. A registry changes an id that it
   * once held only under its own epoch.
   */
  async setStatus(id: string, status: WorkerStatus): Promise<boolean> {
    return (await call(this[internals], V.setStatus, id, status)) as boolean;
  }

  /** A worker, or `null` if it is not registered. A crashed worker stays registered until it is forgotten. */
  async get(id: string): Promise<WorkerInfo | null> {
    return (await call(this[internals], V.get, id)) as WorkerInfo | null;
  }

  /** A worker's health; `unknown` if the worker was never registered, or is forgotten. */
  async health(id: string): Promise<WorkerHealth> {
    return (await this.get(id))?.health ?? 'unknown';
  }

  /** Workers, in no particular order. Every worker that matches all the time is included; a worker that changes meanwhile may be included or not. */
  async list(filter?: WorkerFilter): Promise<WorkerInfo[]> {
    return (await this.snapshot(filter)).workers;
  }

  /** As {@link list}, with the position from which {@link readEvents} returns everything that happened since. */
  async snapshot(filter?: WorkerFilter): Promise<{ workers: WorkerInfo[]; position: string }> {
    const { type, capabilities, status, health, limit, ...rest } = optionsOf('WorkerRegistry.list: filter', filter);
    refuseUnknown('WorkerRegistry.list', rest, ['type', 'capabilities', 'status', 'health', 'limit']);
    const labels = capabilitiesOf('WorkerRegistry.list: capabilities', capabilities);
    return (await call(this[internals], V.list, type, status, health, limit, ...labels)) as { workers: WorkerInfo[]; position: string };
  }

  /**
   * The events after `position`; about the last 10 000 events are kept.
   *
   * @param position A position from {@link snapshot} or an earlier call. `0-0`: from the oldest event.
   * @param options `limit`: the most events to return, from 1 to 10 000. Default 1 000.
   * @returns The events in order, the position after them, and `complete`: `true` if no event in between was trimmed.
   */
  async readEvents(
    position: string,
    options?: { limit?: number | undefined },
  ): Promise<{ events: WorkerEvent[]; position: string; complete: boolean }> {
    const { limit = 1_000, ...rest } = optionsOf('WorkerRegistry.readEvents: options', options);
    refuseUnknown('WorkerRegistry.readEvents', rest, ['limit']);
    return (await call(this[internals], V.events, position, limit)) as { events: WorkerEvent[]; position: string; complete: boolean };
  }

  /**
   * The numbers of workers, by health. The cost does not depend on the number of workers, but on how many are overdue while no process may declare
   * them crashed.
   */
  async count(): Promise<WorkerCount> {
    return (await call(this[internals], V.count)) as WorkerCount;
  }

  /**
   * Claims one slot of the least loaded healthy worker, `idle` or `busy`, that has every capability and a free slot. The load is the claimed slots
   * divided by the capacity, plus the reported load. Among workers with equal load, the worker that was claimed longest ago is chosen.
   *
   * @returns `null` if there is no such worker now.
   */
  async claim(request?: ClaimRequest): Promise<WorkerClaim | null> {
    const { capabilities, type, leaseMs, ...rest } = optionsOf('WorkerRegistry.claim: request', request);
    refuseUnknown('WorkerRegistry.claim', rest, ['capabilities', 'type', 'leaseMs']);
    const labels = capabilitiesOf('WorkerRegistry.claim: capabilities', capabilities);
    const made = (await call(this[internals], V.claim, leaseMs, type, ...labels)) as {
      claim: string;
      token: number;
      worker: WorkerInfo;
    } | null;
    return made === null ? null : new HeldClaim(this[internals], this, made, leaseMs);
  }

  /**
   * Ends a registration, or takes a crashed worker off the list. The worker's claims become void. Any worker that this registry never held can be
   * ended. For an id that this registry holds or once held, only its own registration is ended, never a later registration by another process. The
   * newest 10 000 ids are remembered.
   *
   * @returns `false` if the worker was not registered, had crashed already, or its registration by this registry is over.
   */
  async unregister(id: string): Promise<boolean> {
    const ended = (await call(this[internals], V.unregister, id)) as boolean;
    this[internals].workers.delete(id);
    this[internals].updateInUse(undefined);
    return ended;
  }

  /**
   * Returns the crashes that no caller has received yet. Each crash goes to exactly one caller in the fleet, no matter which process noticed it and
   * whether the worker is still listed. The newest 10 000 crashes are kept for a caller. If the call rejects, this registry's next call, within an
   * hour, returns the crashes that may have been lost.
   */
  async reap(): Promise<WorkerInfo[]> {
    return (await call(this[internals], V.reap)) as WorkerInfo[];
  }

  /**
   * Sends a command to a worker anywhere in the fleet; its registry emits `command` with the worker's next heartbeat. Commands arrive in order, and
   * each once while the worker's process lives.
   *
   * @returns `false` if no such worker is registered, or this registry once held it and its registration is over.
   * @throws RedisError of kind `overloaded` if 100 commands wait for the worker.
   */
  async send(id: string, command: WorkerCommand | WorkerCommand['name']): Promise<boolean> {
    const { name, data, ...rest } = optionsOf('WorkerRegistry.send: command', typeof command === 'string' ? { name: command } : command);
    refuseUnknown('WorkerRegistry.send: command', rest, ['name', 'data']);
    if (!COMMANDS.includes(name as string)) throw configError('WorkerRegistry.send: command', `one of ${COMMANDS.join(', ')}`, name);
    const text = strictJson('WorkerRegistry.send: command', { name, data });
    return (await call(this[internals], V.send, id, text)) as boolean;
  }

  /**
   * Waits until this process leads `role`. At most one candidate in this registry's namespace leads a role. Rust renews the lease until the leader
   * resigns, its process ends, or the connection is lost for longer than the lease. Waiting keeps the process alive; leading does not.
   *
   * @param role 1 to 1 024 bytes of any characters.
   */
  elect(role: string, options?: ElectOptions): Promise<Leadership> {
    return lead(this[internals], role, options).finally(() => this[internals].updateInUse(this));
  }

  /**
   * Adds a listener. Listeners of fleet events (`joined`, `left`, `status`, `degraded`, `recovered`, `crashed`) get the events of every worker of the
   * fleet, in order, including the workers of this process. Once {@link ready} resolves, no event after this call is missed. Such a listener keeps the
   * process alive. A listener that throws or rejects is reported as a process warning and affects no other.
   */
  on<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this {
    const registry = this[internals];
    registry.listeners.add(event, listener);
    registry.watch(this);
    return this;
  }

  /** Removes a listener. */
  off<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this {
    const registry = this[internals];
    registry.listeners.remove(event, listener);
    registry.unwatch();
    return this;
  }

  /** Adds a listener for the next time only. */
  once<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this {
    const registry = this[internals];
    registry.listeners.addOnce(event, listener, () => registry.unwatch());
    registry.watch(this);
    return this;
  }

  /**
   * Resolves when the listeners of fleet events miss no further event; at once without such listeners. Rejects if events cannot be read yet: the
   * registry tries again by itself, and another call waits for the next attempt.
   */
  async ready(): Promise<void> {
    const registry = this[internals];
    registry.watch(this);
    await registry.watching;
  }

  /**
   * Unregisters this registry's workers, resigns its roles, removes its listeners and stops its tasks. Its claims run out with their leases.
   * Idempotent; afterwards the registry can be used again.
   */
  async cleanup(): Promise<void> {
    const registry = this[internals];
    registry.listeners.clear();
    registry.unwatch();
    registry.workers = new Map();
    try {
      await call(this[internals], V.cleanup);
    } finally {
      registry.updateInUse(undefined);
    }
  }

  /** The same as {@link cleanup}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cleanup();
  }
}

function call(registry: RegistryInternals, verb: number, ...args: unknown[]): Promise<unknown> {
  return registry.port.callWith(registry.handle, verb, args);
}
