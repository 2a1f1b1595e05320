/** Everything a service does with Redis, put together on one manager and ended in order. */

import { optionsOf, refuseUnknown } from './arguments.js';
import { disabledError, type RedisConfig, redisConfigFromEnv } from './config.js';
import { configError } from './errors.js';
import { KVStore } from './kv.js';
import { RedisConnectionManager } from './manager.js';
import { WorkerRegistry } from './registry.js';

/** Starts something that runs on a container, and gives what ends it. */
export type Coordinator = (container: Container) => Promise<() => Promise<void>>;

/** Options of {@link createContainer}. Unknown names are refused. */
export interface ContainerOptions {
  /** Where Redis is; wins over `redis.url`. Default: what the environment says, see `redisConfigFromEnv`. */
  redisUrl?: string;
  redis?: RedisConfig;
  /** The prefix of everything; wins over `redis.namespace`. */
  redisNamespace?: string;
  /**
   * Started after the rest, one after another, and stopped first, in the opposite order. `false` is left out; `true` is for those that
   * are built in: `sweeper` notices crashed workers also where this process has none and listens to none.
   */
  coordinators?: Record<string, boolean | Coordinator>;
  /**
   * Milliseconds that `shutdown()` waits for all coordinators together, and as long again for all parts; then it goes on without them.
   * From 0. Default 10 000.
   */
  shutdownTimeoutMs?: number;
}

/** Whether each part answers. `ok`: all of them do. */
export interface ContainerHealth {
  ok: boolean;
  kv: boolean;
  registry: boolean;
  [part: string]: boolean;
}

/** The parts of a service, each made at first use, on one manager. */
export interface Container {
  /** The manager under everything. */
  readonly manager: RedisConnectionManager;
  getKV(): KVStore;
  getRegistry(): WorkerRegistry;
  /** Asks each part. Never rejects; bounded by the manager's `commandTimeoutMs`. */
  health(): Promise<ContainerHealth>;
  /**
   * Stops the coordinators, closes the parts, unregisters the workers, ends the connections. Idempotent and bounded. Rejects, when all of
   * that is done, with what went wrong: the error, or an `AggregateError` of several.
   */
  shutdown(): Promise<void>;
  /** The same as {@link shutdown}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A part of a container. */
export interface ContainerPart {
  /** Resolves if it answers. */
  ask(): Promise<unknown>;
  /** Ends it; bounded by itself or by the container. */
  close(): Promise<unknown>;
}

// Taken before anyone can replace it by one that stands still.
const { setTimeout, clearTimeout } = globalThis;

const OPTIONS: readonly string[] = ['redisUrl', 'redis', 'redisNamespace', 'coordinators', 'shutdownTimeoutMs'];
const DEFAULT_TIMEOUT_MS = 10_000;

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

class Parts implements Container {
  readonly manager: RedisConnectionManager;
  readonly #kv: KVStore;
  readonly #registry: WorkerRegistry;
  readonly #timeoutMs: number;
  /** In the order in which they are closed. */
  readonly #parts = new Map<string, ContainerPart>();
  readonly #running: (() => Promise<void>)[] = [];
  #ended: Promise<void> | undefined;

  constructor(manager: RedisConnectionManager, timeoutMs: number) {
    this.manager = manager;
    this.#timeoutMs = timeoutMs;
    this.#kv = new KVStore(manager);
    this.#registry = new WorkerRegistry(manager);
    this.#parts.set('kv', { ask: () => this.#kv.has('health'), close: async () => {} });
    this.#parts.set('registry', { ask: () => this.#registry.count(), close: () => this.#registry.cleanup() });
  }

  getKV(): KVStore {
    return this.#kv;
  }

  getRegistry(): WorkerRegistry {
    return this.#registry;
  }

  async start(coordinators: [string, Coordinator][]): Promise<void> {
    for (const [name, coordinator] of coordinators) {
      const stop = await coordinator(this);
      if (typeof stop !== 'function') throw configError(`createContainer: coordinators.${name}`, 'to give a function that ends it', stop);
      this.#running.push(stop);
    }
  }

  async health(): Promise<ContainerHealth> {
    const names = [...this.#parts.keys()];
    const answers = await Promise.allSettled([...this.#parts.values()].map((part) => part.ask()));
    const parts = Object.fromEntries(names.map((name, at) => [name, answers[at]?.status === 'fulfilled']));
    return { ...parts, ok: Object.values(parts).every(Boolean) } as ContainerHealth;
  }

  shutdown(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  async #end(): Promise<void> {
    const failures: unknown[] = [];
    let until = performance.now() + this.#timeoutMs;
    const step = async (what: string, run: () => Promise<unknown>): Promise<void> => {
      try {
        await within(until - performance.now(), run(), what);
      } catch (error) {
        failures.push(error);
      }
    };
    for (const stop of this.#running.reverse()) await step('a coordinator', stop);
    until = performance.now() + this.#timeoutMs;
    for (const [name, part] of [...this.#parts].reverse()) await step(name, () => part.close());
    // Bounded by itself, by `closeTimeoutMs`.
    await this.manager.disconnect();
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, 'several parts of the container did not end well');
  }
}

/** Settles as `work` does, or rejects when it has not after `ms` milliseconds. */
async function within(ms: number, work: Promise<unknown>, what: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`shutdown: ${what} did not end within shutdownTimeoutMs`)), Math.max(0, ms));
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function configOf(options: ContainerOptions): RedisConfig {
  const { redisUrl, redis, redisNamespace } = options;
  const given = redis === undefined && redisUrl === undefined ? redisConfigFromEnv() : { ...redis };
  if (given === null) throw disabledError();
  if (redisUrl !== undefined) given.url = redisUrl;
  if (redisNamespace !== undefined) given.namespace = redisNamespace;
  return given;
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
 * Connects, and puts the parts together. If anything fails, what was begun is ended again.
 *
 * @throws RedisError what `connect()` rejects with; kind `disabled` if neither `redis` nor `redisUrl` is given and `REDIS_ENABLED` is
 * false; `config`, naming the option; and what a coordinator rejects with.
 */
export async function createContainer(options?: ContainerOptions): Promise<Container> {
  const { redisUrl, redis, redisNamespace, coordinators, shutdownTimeoutMs, ...rest } = optionsOf('createContainer: options', options);
  refuseUnknown('createContainer', rest, OPTIONS);
  const timeoutMs = shutdownTimeoutMs ?? DEFAULT_TIMEOUT_MS;
  if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0 && timeoutMs <= 2_147_483_647)) {
    throw configError('createContainer: shutdownTimeoutMs', 'a number of milliseconds from 0 to 2147483647', shutdownTimeoutMs);
  }
  const starting = coordinatorsOf(optionsOf('createContainer: coordinators', coordinators));
  const container = new Parts(new RedisConnectionManager(configOf({ redisUrl, redis, redisNamespace })), timeoutMs);
  try {
    await container.manager.connect();
    await container.start(starting);
  } catch (error) {
    // What failed first is what the caller must see.
    await container.shutdown().catch(() => {});
    throw error;
  }
  return container;
}
