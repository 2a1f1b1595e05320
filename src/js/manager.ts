/** The connection manager, on which everything else is built. */

import { inspect } from 'node:util';
import { type PasswordFunction, type ReadConfig, type RedisConfig, readConfig } from './config.js';
import { keep } from './copies.js';
import { type Endpoint, publishClosed, publishError, publishReady, traceConnect } from './diagnostics.js';
import { configError, type Failure, type RedisError, toError } from './errors.js';
import { warnOfEviction } from './eviction.js';
import { type Internals, internals } from './internals.js';
import { Listeners } from './listeners.js';
import type { MetricsSnapshot } from './metrics.js';
import { verbs } from './native.js';
import { type EventHandler, port } from './port.js';

/**
 * `idle`: no attempt was made yet. `connecting`: the first attempts run. `ready`: the connection is usable. `reconnecting`: a connection was lost and
 * is being restored. `closing`: `disconnect()` runs. `closed`: `disconnect()` has ended. `failed`: the manager gave up; the next use connects again.
 */
export type ConnectionState = 'idle' | 'connecting' | 'ready' | 'reconnecting' | 'closing' | 'closed' | 'failed';

/** The result of {@link RedisConnectionManager.health}. */
export interface ConnectionHealth {
  /** Did the server answer? In a cluster also: is every hash slot served? */
  ok: boolean;
  /**
   * Does Redis accept writes? `false`: it refuses them (`OOM`, `READONLY`, `MISCONF`, `NOREPLICAS`, …) or does not answer, and `error` says why. The
   * rights of this manager's user are not checked.
   */
  writable: boolean;
  /** The state of the connection when `health()` was called. */
  state: ConnectionState;
  /** The round trip in milliseconds; `null` without an answer. */
  latencyMs: number | null;
  /** The server that answered, or the server that answered last. */
  server?: { kind: string; version: string; role: string } | undefined;
  /**
   * How much of a cluster is served. `slotsServed` of `slotsTotal`, 16 384: slots with a master that answers and serves keys. `state`: `fail` if a
   * node that answers says that the cluster is down, or if no slot is served.
   */
  cluster?: { state: 'ok' | 'fail'; slotsServed: number; slotsTotal: number } | undefined;
  /** Why `ok` or `writable` is `false`. */
  error?: string | undefined;
}

/** A part of a Redis command. A number is sent in decimal and must be finite. */
export type CommandArgument = string | number | Buffer;

/** The events of a {@link RedisConnectionManager}, with the arguments of their listeners. */
export interface ConnectionEvents {
  /** The state has changed. */
  state: [to: ConnectionState, from: ConnectionState];
  /** A connection is usable, again or for the first time. */
  ready: [];
  /** Attempt number `attempt` (from 1) will be made in `delayMs` milliseconds. */
  reconnecting: [info: { attempt: number; delayMs: number }];
  /** An attempt failed or a connection was lost. Without a listener nothing is thrown. */
  error: [error: RedisError];
  /** The manager has closed, or given up. */
  end: [];
}

const V = verbs('manager', 'connect', 'disconnect', 'ping', 'health', 'password', 'command', 'transaction', 'script');

const CONNECTION_EVENTS: readonly (keyof ConnectionEvents)[] = ['state', 'ready', 'reconnecting', 'error', 'end'];

/** The private state of a manager; reached by {@link internals}. */
class ManagerInternals implements Internals {
  readonly port = port();
  readonly handle: number;
  readonly endpoint: Endpoint;
  readonly listeners = new Listeners<ConnectionEvents>('RedisConnectionManager', CONNECTION_EVENTS);
  readonly shown: object;
  /** The prefix of every key and topic; empty if there is none. */
  readonly namespace: string;
  /** Is the server a cluster? */
  readonly isCluster: boolean;
  readonly #password: PasswordFunction | undefined;
  readonly #onEvent: EventHandler = (event) => this.handleEvent(event);
  #attempt = 0;
  #connectingSince = 0;

  constructor(config: ReadConfig) {
    const { password, clientName, namespace } = config;
    const { handle, server } = this.port.openManager(config);
    this.handle = handle;
    this.#password = typeof password === 'function' ? password : undefined;
    const clientId = `${clientName ?? 'redis-backplane'}#${handle}`;
    this.endpoint = { database: server.db, serverAddress: server.address, serverPort: server.port ?? undefined, clientId };
    const host = server.address.includes(':') ? `[${server.address}]` : server.address;
    this.shown = { server: server.port === null ? server.address : `${host}:${server.port}`, namespace };
    this.namespace = namespace ?? '';
    this.isCluster = server.isCluster;
    this.port.describe(this.handle, this.endpoint);
    this.hold();
  }

  /** The port holds this manager from now on, so that its listeners are called even if the user keeps no reference to it. */
  hold(): void {
    this.port.listen(this.handle, this.#onEvent);
  }

  /** If the manager has ended, it emits nothing more. The port then lets it be garbage-collected, even if its listeners reference it. */
  holdWeaklyIfOver(): void {
    if (isOver(this.port.state(this.handle))) this.port.listenWeakly(this.handle, this.#onEvent);
  }

  handleEvent(event: { event: string; [field: string]: unknown }): void {
    switch (event.event) {
      case 'state': {
        const [to, from] = [event.to as ConnectionState, event.from as ConnectionState];
        if (to === 'connecting') this.hold();
        if (to === 'connecting' || to === 'reconnecting') this.#connectingSince = performance.now();
        if (isOver(to)) {
          publishClosed(this.endpoint, to === 'closed' ? 'disconnect' : 'gave up', from === 'closing');
        }
        this.emit('state', to, from);
        break;
      }
      case 'ready':
        this.#attempt = 0;
        publishReady(this.endpoint, performance.now() - this.#connectingSince);
        this.emit('ready');
        break;
      case 'reconnecting': {
        const info = { attempt: event.attempt as number, delayMs: event.delayMs as number };
        this.#attempt = info.attempt;
        this.emit('reconnecting', info);
        break;
      }
      case 'error': {
        const error = toError(event.error as Failure) as RedisError;
        publishError(this.endpoint, error, this.#attempt);
        this.emit('error', error);
        break;
      }
      case 'end':
        this.emit('end');
        this.holdWeaklyIfOver();
        break;
      case 'evicts':
        warnOfEviction(this.endpoint, event.policy as string);
        break;
      case 'password':
        // The call fails only if the manager was released meanwhile, and then no password is needed.
        this.#givePassword(event.number as number).catch(() => {});
        break;
    }
  }

  emit<E extends keyof ConnectionEvents>(name: E, ...args: ConnectionEvents[E]): void {
    this.listeners.emit(name, ...args);
  }

  /**
   * Calls the user's function and sends its result to Rust: `null` if the result is neither a string nor bytes, `false` if the function threw. The
   * thrown error is not sent, because it may hold a secret.
   */
  async #givePassword(number: number): Promise<void> {
    let given: unknown;
    try {
      const answer: unknown = await this.#password?.();
      given = typeof answer === 'string' || answer instanceof Uint8Array ? answer : null;
    } catch {
      given = false;
    }
    try {
      await this.port.callQuietly(this.handle, V.password, number, given);
    } catch {
      // The password is too long, or not well-formed. With `null` Rust reports what was expected, and waits no longer.
      await this.port.callQuietly(this.handle, V.password, number, null);
    }
  }
}

/** Has the manager closed, or given up? */
function isOver(state: string): boolean {
  return state === 'closed' || state === 'failed';
}

/**
 * Releases the native target of a garbage-collected manager, unless the manager was in use. A manager that the user never disconnected stays
 * connected, since calls may be pending.
 */
const collected = new FinalizationRegistry<Pick<Internals, 'port' | 'handle'>>(({ port, handle }) => {
  const state = port.state(handle);
  if (state === 'idle' || isOver(state)) port.release(handle);
});

/**
 * One set of connections to one Redis, for everything that is built on it.
 *
 * The constructor does no I/O (unless `lazyConnect` is false): the first use connects. A lost connection is restored without end, with exponential
 * backoff and full jitter. Every promise settles within a deadline. An idle ready connection does not keep the process alive; a pending command does.
 *
 * From the first use to {@link disconnect} its connections stay and its listeners are called, even if nothing references the object. After that it
 * can be collected, with its listeners, even if they reference it.
 *
 * @example
 * const manager = new RedisConnectionManager('redis://localhost');
 * await manager.command('SET', 'greeting', 'Welcome');
 * await manager.disconnect();
 */
export class RedisConnectionManager {
  /** @internal */
  declare readonly [internals]: ManagerInternals;

  /**
   * @param config A configuration, or a URL. Default: the local server.
   * @throws RedisError of kind `config`, naming the option, what was expected and what came; `connection` if the operating system refuses the thread
   * or the event queue that the first manager of a process needs.
   */
  constructor(config: RedisConfig | string | URL = {}) {
    const own = new ManagerInternals(readConfig('RedisConnectionManager', config));
    keep(this, 'RedisConnectionManager', own);
    const { port, handle } = own;
    collected.register(this, { port, handle });
  }

  /**
   * Connects. Concurrent callers share one attempt. In state `ready` it does nothing; after `failed` or `closed` it starts again.
   *
   * @throws RedisError of kind `connection`, `auth`, `tls` or `timeout`; `closed` if `disconnect()` comes in between.
   */
  async connect(): Promise<void> {
    const own = this[internals];
    const { port, handle, endpoint } = own;
    own.hold();
    try {
      await traceConnect(endpoint, () => port.call(handle, V.connect));
    } finally {
      own.holdWeaklyIfOver();
    }
  }

  /**
   * Ends all connections. Accepted commands are answered first, for at most `closeTimeoutMs`; later ones reject with kind `closed`. Idempotent and
   * safe in any state; afterwards nothing keeps the process alive. `connect()` opens the manager again.
   */
  async disconnect(): Promise<void> {
    const { port, handle } = this[internals];
    await port.call(handle, V.disconnect);
  }

  /** Is the state `ready`? */
  isConnected(): boolean {
    return this.state === 'ready';
  }

  /** The state now. */
  get state(): ConnectionState {
    const { port, handle } = this[internals];
    return port.state(handle) as ConnectionState;
  }

  /** The time of one round trip in milliseconds. */
  async ping(): Promise<number> {
    const { port, handle } = this[internals];
    return (await port.call(handle, V.ping)) as number;
  }

  /**
   * Asks the server, in a cluster every master, for its role and version and whether it accepts writes (by a `SET` that changes nothing). Never
   * rejects; bounded by `commandTimeoutMs`.
   */
  async health(): Promise<ConnectionHealth> {
    const { port, handle } = this[internals];
    return (await port.call(handle, V.health)) as ConnectionHealth;
  }

  /**
   * Sends any Redis command and returns its reply: strings for bulk strings (a `Buffer` where the bytes are not UTF-8), numbers (a `bigint`
   * beyond 2⁵³), arrays, `null`, and plain objects for RESP3 maps (an array of alternating keys and values if a key is not UTF-8).
   *
   * A blocking command (`BLPOP`, `XREAD BLOCK`, …) gets a connection of its own and may take as long as its own timeout. Commands that would change
   * the shared connection (`SUBSCRIBE`, `MULTI`, `SELECT`, `READONLY`, `CLIENT SETNAME`, …) are refused with kind `config`, with the reason or an
   * alternative, here and in {@link transaction}.
   *
   * @throws RedisError of kind `server` with `serverCode` for an error reply; `timeout`, `connection`, `closed`, `overloaded`: `delivery` says
   * whether the server may have executed the command. Only commands that read are ever sent twice.
   */
  command<T = unknown>(name: string, ...args: CommandArgument[]): Promise<T> {
    const { port, handle } = this[internals];
    for (let at = 0; at < args.length; at++) {
      if (typeof args[at] !== 'string') return call<T>(this, V.command, [name, ...args.map(word)]);
    }
    return port.call(handle, V.command, name, ...args) as Promise<T>;
  }

  /**
   * Executes commands between `MULTI` and `EXEC`: all of them, without commands of others in between, or none.
   *
   * @returns The replies, in order.
   * @throws RedisError of kind `server`: with delivery `rejected` if Redis refused one and executed none; with `maybe-executed` if one failed while
   * the others were executed, since Redis has no rollback.
   */
  transaction<T = unknown[]>(commands: [string, ...CommandArgument[]][]): Promise<T> {
    if (!Array.isArray(commands)) return Promise.reject(configError('transaction: commands', 'an array of commands', commands));
    if (commands.length === 0) return Promise.resolve([] as T);
    const flat: unknown[] = [];
    for (const command of commands) {
      if (!Array.isArray(command)) return Promise.reject(configError('transaction: command', 'an array of its words', command));
      const words = [...command];
      flat.push(words.length);
      for (const part of words) flat.push(word(part));
    }
    return call<T>(this, V.transaction, flat);
  }

  /**
   * Runs a Lua script on the server by its digest; its text is sent if the server does not know it.
   *
   * @param lua The text.
   * @param keys Every key the script touches (`KEYS`).
   * @param args Its other arguments (`ARGV`).
   */
  script<T = unknown>(lua: string, keys: string[], args: CommandArgument[] = []): Promise<T> {
    if (typeof lua !== 'string') return Promise.reject(configError('script: lua', 'a string', lua));
    if (!Array.isArray(keys)) return Promise.reject(configError('script: keys', 'an array of strings', keys));
    if (!Array.isArray(args)) return Promise.reject(configError('script: args', 'an array', args));
    const names = [...keys];
    return call<T>(this, V.script, [lua, names.length, ...names, ...[...args].map(word)]);
  }

  /** The metrics of this manager and of everything built on it. */
  metrics(): MetricsSnapshot {
    const { port, handle } = this[internals];
    return JSON.parse(port.metrics(handle)) as MetricsSnapshot;
  }

  /** The same metrics in Prometheus' text format. */
  prometheus(): string {
    const { port, handle } = this[internals];
    return port.prometheus(handle);
  }

  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this {
    this[internals].listeners.add(event, listener);
    return this;
  }

  /** Removes a listener. */
  off<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this {
    this[internals].listeners.remove(event, listener);
    return this;
  }

  /** Adds a listener for the next time only. */
  once<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this {
    this[internals].listeners.addOnce(event, listener);
    return this;
  }

  /** The same as {@link disconnect}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  /** @internal */
  [inspect.custom](): string {
    return `RedisConnectionManager ${inspect({ state: this.state, ...this[internals].shown })}`;
  }
}

function call<T>(manager: RedisConnectionManager, verb: number, args: unknown[]): Promise<T> {
  const { port, handle } = manager[internals];
  return port.callWith(handle, verb, args) as Promise<T>;
}

/** A number in decimal, as Redis reads it. Any other value stays as it is, and Rust checks it. */
function word(value: unknown): unknown {
  if (typeof value !== 'number') return value;
  return Number.isFinite(value) ? String(value) : { notFinite: value };
}
