/// <reference types="node" />
/** The one error of this package. */
/** What kind of failure a {@link RedisError} is. */
export type RedisErrorKind =
  /** The caller's arguments or configuration. */
  | 'config'
  /** Redis is switched off: `REDIS_ENABLED=false`. */
  | 'disabled'
  /** Refused, reset, lost, or the name did not resolve. */
  | 'connection'
  /** The server refused the credentials, or they do not permit the command. */
  | 'auth'
  /** The TLS handshake failed. */
  | 'tls'
  /** A connect, command or wait deadline passed. */
  | 'timeout'
  /** Used after `disconnect()` or `close()`. */
  | 'closed'
  /** Too many commands or bytes are waiting for the server. */
  | 'overloaded'
  /** The server answered with an error: `WRONGTYPE`, `OOM`, `READONLY`, … */
  | 'server'
  /** A value cannot become JSON, or stored bytes are not what was expected. */
  | 'serialization'
  /** A lock, job or registration belongs to someone else now. */
  | 'lease-lost'
  /** The caller's `AbortSignal` was aborted. */
  | 'cancelled';
/**
 * Did the server possibly act? `not-sent`: not a byte left this process. `maybe-executed`: it was sent, and no answer came.
 * `rejected`: the server answered that it refuses.
 */
export type RedisErrorDelivery = 'not-sent' | 'maybe-executed' | 'rejected';
/** What a {@link RedisError} is made of, beyond its kind and message. */
export interface RedisErrorFields {
  /** The first word of an error reply, such as `WRONGTYPE`. */
  serverCode?: string;
  /** Default false. */
  retryable?: boolean;
  /** Default `not-sent`. */
  delivery?: RedisErrorDelivery;
  /** What led to it. */
  cause?: unknown;
}
/**
 * Every failure of this package. `instanceof RedisError` holds across copies of the package and across VM contexts.
 * No message contains a password, the credentials of a URL or a payload.
 */
export declare class RedisError extends Error {
  /** What kind of failure it is. */
  readonly redisErrorKind: RedisErrorKind;
  /** Stable, one per kind: `ERR_REDIS_TIMEOUT`, `ERR_REDIS_LEASE_LOST`, … */
  readonly code: string;
  /** The first word of an error reply (`WRONGTYPE`, `NOAUTH`, …), for kinds `server` and `auth`. */
  readonly serverCode?: string;
  /** May the same call succeed if it is made again? Whether that is safe is what `delivery` says. */
  readonly retryable: boolean;
  /** Did the server possibly act on it? */
  readonly delivery: RedisErrorDelivery;
  constructor(kind: RedisErrorKind, message: string, fields?: RedisErrorFields);
  /** True for an error of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}

/** Where Redis is and how to talk to it. Values are checked in Rust, once, by name. */

/** TLS options. Certificates and keys are PEM. */
export interface RedisTlsConfig {
  /** Certificate authorities to trust instead of the public ones. */
  ca?: string | Buffer;
  /** The client's certificate, for mutual TLS; with `key`. */
  cert?: string | Buffer;
  /** The private key of `cert`. */
  key?: string | Buffer;
  /** The name to expect in the server's certificate. Default: the host. */
  servername?: string;
  /** `false` accepts any certificate. Default true. */
  rejectUnauthorized?: boolean;
}
/** How a lost connection is restored: exponential backoff with full jitter. */
export interface RedisReconnectConfig {
  /** Milliseconds, at least 1. Default 50. */
  minDelayMs?: number;
  /** Milliseconds, at least `minDelayMs`. Default 2 000. */
  maxDelayMs?: number;
  /** Attempts before the state becomes `failed`. Default: endless. */
  maxAttempts?: number;
}
/** The configuration of a {@link RedisConnectionManager}. Unknown names are refused. */
export interface RedisConfig {
  /**
   * `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://`, `redis+cluster://` or `memory://name`. Excludes `host`, `port`
   * and `path`; what else is given here wins over what the URL says.
   */
  url?: string;
  /** Default `127.0.0.1`. */
  host?: string;
  /** Default 6379. */
  port?: number;
  /** The path of a Unix socket; excludes `host` and `port`. */
  path?: string;
  /** The database, from 0. Default 0. */
  db?: number;
  /** The ACL user; needs `password`. */
  username?: string;
  /** A function is asked again at every new connection, so a rotated password needs no restart. */
  password?: string | (() => string | Promise<string>);
  /** Default false, or true for `rediss://`. */
  tls?: boolean | RedisTlsConfig;
  /** `true`: the constructor does no I/O and the first use connects. Default true. */
  lazyConnect?: boolean;
  /** Milliseconds for one attempt: name, TCP, TLS, handshake, password. Default 10 000. */
  connectTimeoutMs?: number;
  /** Further attempts of the first connect. Default 0: it fails fast. A connection that was up is restored endlessly. */
  connectRetries?: number;
  /** Milliseconds for a command, from the call to the answer, waiting for a reconnect included. Default 5 000. */
  commandTimeoutMs?: number;
  /** How a lost connection is restored. */
  reconnect?: RedisReconnectConfig;
  /** Milliseconds, at least 10. A dead peer is noticed within twice this. Default 10 000. */
  keepAliveMs?: number;
  /** Commands that may wait; one more is refused with kind `overloaded`. Default 100 000. */
  maxPendingCommands?: number;
  /** Bytes of commands that may wait, from 1 024. Default 256 MiB. */
  maxPendingBytes?: number;
  /** Milliseconds that `disconnect()` waits for answers. Default 5 000. */
  closeTimeoutMs?: number;
  /** The connection's name in `CLIENT LIST`: printable ASCII without spaces. Default `redis-backplane`. */
  clientName?: string;
  /** Prefix of every key and topic of everything built on this manager; a colon follows it. */
  namespace?: string;
}
type Environment = Record<string, string | undefined>;
/**
 * The configuration that the environment gives: `REDIS_ENABLED`, `REDIS_URL`, `REDIS_HOST`, `REDIS_PORT`, `REDIS_DB`,
 * `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_TLS`. `null` when `REDIS_ENABLED` is false, whatever else is set. `REDIS_URL` wins over
 * host and port; user, password and database beside a URL win over those in it. An empty variable counts as not set.
 *
 * @param env Default `process.env`.
 * @throws RedisError of kind `config` for a value that is none, naming the variable.
 */
export declare function redisConfigFromEnv(env?: Environment): RedisConfig | null;
/** A configuration for tests: {@link createTestRedisConfig} without overrides, made once for this process. */
export declare const REDIS_TEST_CONFIG: RedisConfig;
/**
 * A configuration for a test, with a namespace of its own at each call, so that tests can run side by side. The server is that of
 * `REDIS_TEST_URL`, else a local one (`redis://127.0.0.1:6379`).
 *
 * @param overrides Win over what this function chooses.
 */
export declare function createTestRedisConfig(overrides?: RedisConfig): RedisConfig;

/**
 * `diagnostics_channel` events, with the shapes node-redis documents for its own: an APM that reads those reads these. Channels:
 * tracing channels `redis-backplane:command` and `redis-backplane:connect`; plain channels `redis-backplane:connection:ready`,
 * `redis-backplane:connection:closed` and `redis-backplane:error`. Keys and values are never in them: arguments are `?`.
 */
/** Who a call goes to. */
export interface Endpoint {
  database: number;
  serverAddress: string;
  serverPort: number | undefined;
  clientId: string;
}
/** The context of a `redis-backplane:command` trace. */
export interface CommandTrace extends Endpoint {
  command: string;
  args: readonly string[];
}

/** The numbers of a manager. A metric has one name, here and in Prometheus' text. */
/** A histogram of durations in milliseconds. */
export interface HistogramSnapshot {
  /** How many durations were recorded. */
  count: number;
  /** Their sum in milliseconds. */
  sum: number;
  /** How many took at most `le` milliseconds (`null`: no bound); cumulative. */
  buckets: {
    le: number | null;
    count: number;
  }[];
}
/** The numbers of a manager and of everything built on it, since it was made. */
export interface MetricsSnapshot {
  /** `cacheGet` and `getOrSet` calls that found a value. */
  redis_cache_hit_total: number;
  /** `cacheGet` and `getOrSet` calls that found none. */
  redis_cache_miss_total: number;
  /** Failed attempts to connect, and lost connections. */
  redis_connection_errors_total: number;
  /** Attempts to restore a lost connection. */
  redis_reconnection_attempts_total: number;
  /** Commands refused because too much was waiting (kind `overloaded`). */
  redis_commands_rejected_total: number;
  /** Commands whose deadline passed. */
  redis_commands_timed_out_total: number;
  /** Commands answered with an error reply. */
  redis_commands_failed_total: number;
  /** Commands that were safe to send again, and were. */
  redis_commands_resent_total: number;
  /** Bytes written to the server. */
  redis_sent_bytes_total: number;
  /** Bytes read from the server. */
  redis_received_bytes_total: number;
  /** Open connections. */
  redis_connection_pool_size: number;
  /** Commands accepted and not yet settled. */
  redis_commands_pending: number;
  /** Bytes of commands accepted and not yet settled. */
  redis_pending_bytes: number;
  /** The most callers that ever shared one attempt to connect. */
  redis_concurrent_initialization_attempts: number;
  /** From the begin of an attempt until the connection was usable, or the attempt had failed. */
  redis_initialization_duration_ms: HistogramSnapshot;
  /** From the call until its answer, by operation: a command's name, or `kv.get` and the like. */
  redis_operation_duration_ms: Record<string, HistogramSnapshot>;
}

/** The connection manager: the one object everything else is built on. */

/**
 * `idle`: nothing was tried yet. `connecting`: the first attempts run. `ready`: usable. `reconnecting`: a connection was lost and is
 * being restored. `closing`: `disconnect()` runs. `closed`: it has ended. `failed`: it gave up; the next use begins anew.
 */
export type ConnectionState = 'idle' | 'connecting' | 'ready' | 'reconnecting' | 'closing' | 'closed' | 'failed';
/** What {@link RedisConnectionManager.health} finds. */
export interface ConnectionHealth {
  /** Did the server answer? */
  ok: boolean;
  state: ConnectionState;
  /** The round trip in milliseconds; `null` without an answer. */
  latencyMs: number | null;
  /** Who answered, or who answered last. */
  server?: {
    kind: string;
    version: string;
    role: string;
  };
  /** Why there was no answer. */
  error?: string;
}
/** A part of a Redis command. A number is sent in decimal and must be finite. */
export type CommandArgument = string | number | Buffer;
/** The events of a {@link RedisConnectionManager}, with what their listeners are given. */
export interface ConnectionEvents {
  /** The state has changed. */
  state: [to: ConnectionState, from: ConnectionState];
  /** A connection is usable, again or for the first time. */
  ready: [];
  /** Attempt number `attempt` (from 1) will be made in `delayMs` milliseconds. */
  reconnecting: [
    info: {
      attempt: number;
      delayMs: number;
    },
  ];
  /** An attempt failed or a connection was lost. Without a listener nothing is thrown. */
  error: [error: RedisError];
  /** It has closed, or given up. */
  end: [];
}
/**
 * One set of connections to one Redis, for everything that is built on it.
 *
 * The constructor does no I/O (unless `lazyConnect` is false): the first use connects. A connection that was up is restored without
 * end, with exponential backoff and full jitter. Every promise settles within a deadline. An idle ready connection does not keep the
 * process alive; a pending command does.
 */
export declare class RedisConnectionManager {
  /**
   * @param config A configuration, or a URL. Default: the local server.
   * @throws RedisError of kind `config`, naming the option, what was expected and what came.
   */
  constructor(config?: RedisConfig | string);
  /**
   * Connects. Concurrent callers share one attempt; when ready it does nothing; after `failed` or `closed` it begins anew.
   *
   * @throws RedisError of kind `connection`, `auth`, `tls` or `timeout`; `closed` if `disconnect()` comes in between.
   */
  connect(): Promise<void>;
  /**
   * Ends all connections: commands already accepted are answered first, for at most `closeTimeoutMs`; later ones reject with kind
   * `closed`. Idempotent and safe in any state; afterwards nothing keeps the process alive. `connect()` opens it again.
   */
  disconnect(): Promise<void>;
  /** Is the state `ready`? */
  isConnected(): boolean;
  /** Where it is in its life, now. */
  get state(): ConnectionState;
  /** The time of one round trip in milliseconds. */
  ping(): Promise<number>;
  /** Asks the server who it is. Never rejects; bounded by `commandTimeoutMs`. */
  health(): Promise<ConnectionHealth>;
  /**
   * Sends any Redis command and gives its reply: strings for bulk strings (a `Buffer` where the bytes are not UTF-8), numbers (a
   * `bigint` beyond 2⁵³), arrays, `null`, and plain objects for RESP3 maps.
   *
   * A blocking command (`BLPOP`, `XREAD BLOCK`, …) gets a connection of its own and may take as long as it says. Commands that would
   * change the shared connection (`SUBSCRIBE`, `MULTI`, `SELECT`, …) are refused with kind `config`, naming what to use instead.
   *
   * @throws RedisError of kind `server` with `serverCode` for an error reply; `timeout`, `connection`, `closed`, `overloaded`: its
   * `delivery` says whether the server may have executed it. Only commands that read are ever sent twice.
   */
  command<T = unknown>(name: string, ...args: CommandArgument[]): Promise<T>;
  /**
   * Executes commands between `MULTI` and `EXEC`: all of them, with nothing of anyone else in between, or none.
   *
   * @returns The replies, in order.
   * @throws RedisError of kind `server`: with delivery `rejected` if Redis refused one and executed none; with `maybe-executed` if one
   * failed while the others were executed, since Redis takes nothing back.
   */
  transaction<T = unknown[]>(commands: [string, ...CommandArgument[]][]): Promise<T>;
  /**
   * Runs a Lua script on the server, by its digest; its text is sent where the server does not know it.
   *
   * @param lua The text.
   * @param keys Every key the script touches (`KEYS`).
   * @param args What else it is given (`ARGV`).
   */
  script<T = unknown>(lua: string, keys: string[], args?: CommandArgument[]): Promise<T>;
  /** The numbers of this manager and of everything built on it. */
  metrics(): MetricsSnapshot;
  /** The same numbers in Prometheus' text format. */
  prometheus(): string;
  /** Adds a listener. One that throws is reported as a process warning; it affects nobody else. */
  on<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => void): this;
  /** Removes a listener. */
  off<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => void): this;
  /** Adds a listener for the next time only. */
  once<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => void): this;
  /** The same as {@link disconnect}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Ready-made sets of connections. */

/** What {@link makeRedisSuite} gives. All three names are the same manager's: it has the connections each purpose needs. */
export interface RedisSuite {
  /** For commands. */
  base: RedisConnectionManager;
  /** For publishing. */
  pub: RedisConnectionManager;
  /** For subscribing. */
  sub: RedisConnectionManager;
  /** Ends all of them. Idempotent. */
  disconnect(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
/**
 * Managers for all purposes, connected and pinged. One manager serves them all: it keeps apart what Redis itself
 * forces apart, so there is one configuration and one thing to end.
 *
 * @throws RedisError what `connect()` and `ping()` reject with; nothing stays open then.
 */
export declare function makeRedisSuite(url: string | RedisConfig): Promise<RedisSuite>;

export {};
