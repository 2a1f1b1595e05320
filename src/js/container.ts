/** The container: the parts of a service on one manager, which are started together and ended in order. */

import { optionsOf, refuseUnknown } from './arguments.js';
import { MessageBus } from './bus/bus.js';
import type { MessageBusOptions } from './bus/options.js';
import type { CheckpointStoreOptions } from './checkpoints/options.js';
import { CheckpointStore } from './checkpoints/store.js';
import { disabledError, isUrl, type RedisConfig, redisConfigFromEnv } from './config.js';
import { configError, RedisError } from './errors.js';
import { internals } from './internals.js';
import { KVStore } from './kv.js';
import { RedisConnectionManager } from './manager.js';
import type { ICheckpointStore, IKVStore, IMessageBus, IRedisConnection, ISessionStore, ITaskQueue, IWorkerRegistry } from './ports.js';
import type { TaskQueueOptions } from './queue/options.js';
import { TaskQueue } from './queue/queue.js';
import { WorkerRegistry, type WorkerRegistryOptions } from './registry.js';
import type { SessionStoreOptions } from './sessions/options.js';
import { SessionStore } from './sessions/store.js';
import type { ServiceTypes, TypedContainer } from './typed.js';

/** Starts a task of the user's on a container, and returns a function that ends the task. If that function returns a promise, it is awaited. */
export type Coordinator = (container: Container) => (() => unknown) | Promise<() => unknown>;

/** Options of {@link createContainer}. Unknown names are refused. */
export interface ContainerOptions {
  /** The URL of Redis; wins over `redis.url`. Default: from the environment, see `redisConfigFromEnv`. */
  url?: string | URL | undefined;
  /** The same as `url`. Give only one of the two. */
  redisUrl?: string | URL | undefined;
  /** The configuration of the manager. */
  redis?: RedisConfig | undefined;
  /** The prefix of every key and topic; wins over `redis.namespace`. */
  namespace?: string | undefined;
  /** The same as `namespace`. Give only one of the two. */
  redisNamespace?: string | undefined;
  /** Options of the bus. */
  bus?: MessageBusOptions | undefined;
  /** Options of the registry. */
  registry?: WorkerRegistryOptions | undefined;
  /** Options of the store of checkpoints; its `registry` is the container's. */
  checkpoints?: Omit<CheckpointStoreOptions, 'registry'> | undefined;
  /** Options of every queue. */
  queue?: TaskQueueOptions | undefined;
  /** Options of the sessions. */
  sessions?: SessionStoreOptions | undefined;
  /**
   * Tasks by name. They are started last, one after another, and stopped first, in the opposite order. `false` leaves a task out. `true` starts a
   * built-in task: `sweeper` notices crashed workers even if this process has no workers and no listeners.
   */
  coordinators?: Record<string, boolean | Coordinator> | undefined;
  /**
   * How long `shutdown()` waits for all coordinators together, and then again for all parts together, in milliseconds from 0. After that it goes on
   * without them. Running jobs may use the second period except its last fifth, at most 2 s, in which the remaining jobs are handed back. Default
   * 10 000.
   */
  shutdownTimeoutMs?: number | undefined;
}

/**
 * Whether each part answers. `ok`: all parts answer. `redis`: the manager's `health()` is `ok` and `writable`, so the whole key space is served and
 * writes are accepted. A queue from `getQueue()` is `queue:` and its name; after `getSessions()` there is also `sessions`.
 */
export interface ContainerHealth {
  /** Do all parts answer? */
  ok: boolean;
  /** Is the manager connected, and does Redis accept writes? */
  redis: boolean;
  /** Are the subscriptions of the bus confirmed? */
  bus: boolean;
  /** Does the KV store answer? */
  kv: boolean;
  /** Does the worker registry answer? */
  registry: boolean;
  /** Does the store of checkpoints answer? */
  checkpoints: boolean;
  /** Does this part answer? `queue:` and its name for a queue. */
  [part: string]: boolean;
}

/** The parts of a service, on one manager. */
export interface Container {
  /** The manager of all parts. */
  readonly manager: IRedisConnection;
  /** The message bus, the same object each time. */
  getBus(): IMessageBus;
  /** The KV store, the same object each time. */
  getKV(): IKVStore;
  /** The worker registry, the same object each time. */
  getRegistry(): IWorkerRegistry;
  /** The sessions, the same object each time. */
  getSessions<T extends object = Record<string, unknown>>(): ISessionStore<T>;
  /** The store of checkpoints, the same object each time. */
  getCheckpoints(): ICheckpointStore;
  /** The queue with this name, the same object each time. */
  getQueue<T = unknown, R = unknown>(name: string): ITaskQueue<T, R>;
  /** Asks each part. Never rejects; bounded by the manager's `commandTimeoutMs`. */
  health(): Promise<ContainerHealth>;
  /**
   * Stops the coordinators, closes the queues with their workers and what takes over or watches threads of checkpoints, then the bus, unregisters the
   * workers of the registry, ends the connections. Idempotent and bounded: see `shutdownTimeoutMs`. Rejects at the end if something went wrong: with the error, or with an `AggregateError` of
   * several. Jobs that were handed back are not an error.
   */
  shutdown(): Promise<void>;
  /** The same as {@link shutdown}. */
  [Symbol.asyncDispose](): Promise<void>;
}

// Taken before fake timers can replace them.
const { setTimeout, clearTimeout } = globalThis;

const OPTIONS: readonly string[] = [
  'url',
  'redisUrl',
  'redis',
  'namespace',
  'redisNamespace',
  'bus',
  'registry',
  'queue',
  'checkpoints',
  'sessions',
  'coordinators',
  'shutdownTimeoutMs',
];
const DEFAULT_TIMEOUT_MS = 10_000;
/**
 * The last part of the time of all parts, in which the remaining jobs are handed back, and the bus and the registry are closed: a share of the time,
 * and its upper bound.
 */
const HAND_BACK_SHARE = 0.2;
const HAND_BACK_MAX_MS = 2_000;

const builtIn: Record<string, Coordinator> = {
  async sweeper(container) {
    const registry = container.getRegistry();
    const listener = (): void => {};
    registry.on('crashed', listener);
    await registry.ready();
    return async () => {
      registry.off('crashed', listener);
    };
  },
};

/** The private state of a container. */
class ContainerInternals {
  readonly manager: RedisConnectionManager;
  readonly bus: MessageBus;
  readonly kv: KVStore;
  readonly registry: WorkerRegistry;
  readonly checkpoints: CheckpointStore;
  readonly #queues = new Map<string, TaskQueue>();
  readonly #queueOptions: TaskQueueOptions | undefined;
  readonly #sessionOptions: SessionStoreOptions | undefined;
  #sessions: SessionStore | undefined;
  readonly #timeoutMs: number;
  /** The health checks, by part. A check resolves if the part answers. */
  readonly #checks = new Map<string, () => Promise<unknown>>();
  readonly #running: (() => unknown)[] = [];
  #shutdown: Promise<void> | undefined;

  constructor(manager: RedisConnectionManager, options: ContainerOptions, timeoutMs: number) {
    this.manager = manager;
    this.#timeoutMs = timeoutMs;
    this.kv = new KVStore(manager);
    this.registry = new WorkerRegistry(manager, options.registry);
    this.checkpoints = new CheckpointStore(manager, { ...options.checkpoints, registry: this.registry });
    this.bus = new MessageBus(manager, options.bus);
    this.#queueOptions = options.queue;
    this.#sessionOptions = options.sessions;
    this.#checks.set('redis', () => askRedis(manager));
    this.#checks.set('kv', () => this.kv.has('health'));
    this.#checks.set('registry', () => this.registry.count());
    this.#checks.set('checkpoints', () => this.checkpoints.latest('health'));
    this.#checks.set('bus', () => Promise.all([this.bus.ready(), manager.ping()]));
  }

  queue<T, R>(name: string): TaskQueue<T, R> {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      const made = new TaskQueue(name, this.manager, this.#queueOptions);
      this.#queues.set(name, made);
      this.#checks.set(`queue:${name}`, () => made.counts());
      queue = made;
    }
    // The caller vouches for the types of the queue's data, as with `new TaskQueue<T, R>(name)`.
    return queue as TaskQueue<T, R>;
  }

  sessions<T extends object>(): ISessionStore<T> {
    if (this.#sessions === undefined) {
      const made = new SessionStore(this.manager, this.#sessionOptions);
      this.#sessions = made;
      this.#checks.set('sessions', () => made[internals].sessions.load('health', false));
    }
    // The caller vouches for the type of the sessions' data, as with `new SessionStore<T>()`.
    return this.#sessions as unknown as ISessionStore<T>;
  }

  async start(container: Container, coordinators: [string, Coordinator][]): Promise<void> {
    for (const [name, coordinator] of coordinators) {
      const stop = await coordinator(container);
      if (typeof stop !== 'function') throw configError(`createContainer: coordinators.${name}`, 'to give a function that ends it', stop);
      this.#running.push(stop);
    }
  }

  async health(): Promise<ContainerHealth> {
    const names = [...this.#checks.keys()];
    const answers = await Promise.allSettled([...this.#checks.values()].map((ask) => ask()));
    const parts = Object.fromEntries(names.map((name, at) => [name, answers[at]?.status === 'fulfilled']));
    return { ...parts, ok: Object.values(parts).every(Boolean) } as ContainerHealth;
  }

  shutdown(): Promise<void> {
    this.#shutdown ??= this.#end();
    return this.#shutdown;
  }

  async #end(): Promise<void> {
    const failures: unknown[] = [];
    let until = performance.now() + this.#timeoutMs;
    const step = async (what: string, run: () => unknown, ms = until - performance.now()): Promise<void> => {
      try {
        await within(ms, run, what);
      } catch (error) {
        failures.push(error);
      }
    };
    for (const stop of this.#running.reverse()) await step('a coordinator', stop);
    until = performance.now() + this.#timeoutMs;
    const graceMs = this.#timeoutMs - Math.min(this.#timeoutMs * HAND_BACK_SHARE, HAND_BACK_MAX_MS);
    // All at once, so that the jobs of one queue do not use up the time of another queue's jobs.
    await Promise.all([
      ...[...this.#queues].map(([name, queue]) => step(`queue:${name}`, () => queue.close({ graceMs }))),
      step('checkpoints', () => this.checkpoints[internals].close(), graceMs),
    ]);
    await step('bus', () => this.bus.close());
    await step('registry', () => this.registry.cleanup());
    // `disconnect()` has its own bound, `closeTimeoutMs`.
    await this.manager.disconnect();
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, 'several parts of the container did not end well');
  }
}

/** The object that the user gets. Its methods work without `this`. */
function containerOf(parts: ContainerInternals): Container {
  return {
    manager: parts.manager,
    getBus: () => parts.bus,
    getKV: () => parts.kv,
    getRegistry: () => parts.registry,
    getCheckpoints: () => parts.checkpoints,
    getQueue: (name) => parts.queue(name),
    getSessions: () => parts.sessions(),
    health: () => parts.health(),
    shutdown: () => parts.shutdown(),
    [Symbol.asyncDispose]: () => parts.shutdown(),
  };
}

async function askRedis(manager: RedisConnectionManager): Promise<void> {
  const { ok, writable, error } = await manager.health();
  if (!ok || !writable) throw new Error(error);
}

/** Settles as the result of `work` does, or rejects after `ms` milliseconds. */
async function within(ms: number, work: () => unknown, what: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`shutdown: ${what} did not end within shutdownTimeoutMs`)), Math.max(0, ms));
  });
  try {
    await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}

function configOf(options: ContainerOptions): RedisConfig {
  const { redis } = options;
  const url = oneOf(options, 'url', 'redisUrl');
  const namespace = oneOf(options, 'namespace', 'redisNamespace');
  const fromEnv = redis === undefined && url === undefined;
  const given: RedisConfig | null = fromEnv ? redisConfigFromEnv() : { ...optionsOf('createContainer: redis', redis) };
  if (given === null) throw disabledError();
  if (url !== undefined) given.url = url;
  if (namespace !== undefined) given.namespace = namespace;
  return given;
}

/** The value of an option that has two names. */
function oneOf<One extends keyof ContainerOptions, Other extends keyof ContainerOptions>(
  options: ContainerOptions,
  one: One,
  other: Other,
): ContainerOptions[One] | ContainerOptions[Other] {
  if (options[one] !== undefined && options[other] !== undefined) {
    throw new RedisError('config', `createContainer.${other}: expected ${one} or ${other}, got both`);
  }
  return options[one] ?? options[other];
}

/** The options; a URL alone becomes the option `url`. */
function containerOptions(given: ContainerOptions | string | URL | undefined): ContainerOptions {
  if (typeof given === 'string' || isUrl(given)) return { url: given };
  return optionsOf('createContainer: options', given);
}

function coordinatorsOf(given: Record<string, boolean | Coordinator>): [string, Coordinator][] {
  return Object.entries(given).flatMap(([name, coordinator]): [string, Coordinator][] => {
    if (coordinator === false) return [];
    const found = coordinator === true ? builtIn[name] : coordinator;
    if (typeof found === 'function') return [[name, found]];
    const known = Object.keys(builtIn).join(', ');
    throw configError(`createContainer: coordinators.${name}`, `a function, false, or true for one of ${known}`, coordinator);
  });
}

/**
 * Connects, and makes the parts. If anything fails, everything that was started is ended again.
 *
 * @param options Options, or the URL of Redis alone.
 * @example
 * const redis = await createContainer({ url: 'redis://localhost', namespace: 'shop' });
 * await redis.getKV().set('greeting', 'Welcome', 3_600);
 * await redis.shutdown();
 * @throws RedisError what `connect()` rejects with; kind `disabled` if neither `redis` nor `url` is given and the environment
 * says that Redis is off, see `redisConfigFromEnv`; `config`, naming the option; and what a coordinator rejects with.
 */
export function createContainer(options?: ContainerOptions | string | URL): Promise<Container>;
/**
 * As above, for a service that names its topics, requests, queues and jobs: another name, payload, data or result does not compile.
 *
 * @example
 * interface Shop {
 *   topics: { 'order.created': { id: number } };
 *   queues: { mails: { welcome: { data: { to: string }; result: string } } };
 * }
 * const redis = await createContainer<Shop>({ url: 'redis://localhost' });
 * await redis.getBus().publish('order.created', { id: 7 });
 */
export function createContainer<S extends ServiceTypes>(options?: ContainerOptions | string | URL): Promise<TypedContainer<S>>;
export async function createContainer(options?: ContainerOptions | string | URL): Promise<Container> {
  const {
    url,
    redisUrl,
    redis,
    namespace,
    redisNamespace,
    bus,
    registry,
    queue,
    sessions,
    checkpoints,
    coordinators,
    shutdownTimeoutMs,
    ...rest
  } = containerOptions(options);
  refuseUnknown('createContainer', rest, OPTIONS);
  const timeoutMs = shutdownTimeoutMs ?? DEFAULT_TIMEOUT_MS;
  if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0 && timeoutMs <= 2_147_483_647)) {
    throw configError('createContainer: shutdownTimeoutMs', 'a number of milliseconds from 0 to 2147483647', shutdownTimeoutMs);
  }
  const starting = coordinatorsOf(optionsOf('createContainer: coordinators', coordinators));
  const manager = new RedisConnectionManager(configOf({ url, redisUrl, redis, namespace, redisNamespace }));
  let parts: ContainerInternals | undefined;
  try {
    parts = new ContainerInternals(manager, { bus, registry, queue, sessions, checkpoints }, timeoutMs);
    const container = containerOf(parts);
    await manager.connect();
    await parts.start(container, starting);
    return container;
  } catch (error) {
    // The caller gets the first error, not an error of this cleanup.
    await (parts?.shutdown() ?? manager.disconnect()).catch(() => {});
    throw error;
  }
}
