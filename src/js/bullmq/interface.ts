/**
 * The client that BullMQ 5.77 and later, and 6, accept in place of an ioredis client: their `IRedisClient`, written out, so that nothing of BullMQ is
 * imported.
 */

import type { Readable } from 'node:stream';

/** Options of {@link BullMQClient.duplicate}. */
export interface BullMQDuplicateOptions {
  /** The name of the duplicate's connection in `CLIENT LIST`; `Queue.getWorkers()` finds workers by it. */
  connectionName?: string | undefined;
}

/** A script of {@link BullMQClient.defineCommand}. */
export interface BullMQScript {
  /** How many of its arguments are keys; they come first. */
  numberOfKeys: number;
  /** Its text. */
  lua: string;
  /** Without effect: it runs on the master. */
  readOnly?: boolean | undefined;
}

/** A value of a hash or a stream entry. */
export type BullMQFields = Record<string, string | number>;

/**
 * A BullMQ client on the connections of a `RedisConnectionManager`.
 *
 * It connects by itself, as ioredis clients do. Its `status` is `wait` before it is connected, `connecting`, `ready`, `reconnecting` or `end`. Its
 * events are `ready`, `close` (the connection is gone), `reconnecting`, `end` (the client will not reconnect by itself) and `error`, which is never
 * thrown.
 *
 * A call that fails for want of a connection rejects with a `RedisError` of kind `connection`, `timeout`, `closed` or `overloaded` and the message
 * `Connection is closed.`, which tells BullMQ that it may try again; {@link connect} rejects like that after every failure. `cause` says what
 * happened.
 */
export interface BullMQClient {
  status: string;
  readonly isCluster: boolean;
  options: Record<string, unknown>;

  /**
   * Connects. It tries until a server answers, because BullMQ asks only once. It rejects with kind `closed` when the manager or this client is
   * disconnected, and at once with kind `auth` or `tls`, which waiting cannot mend. A client that has ended before tries once. A manager that the
   * user has disconnected is not connected again.
   */
  connect(): Promise<void>;
  /** Ends this client; the manager and other clients stay as they are. A duplicate closes its own connection; with `true` it opens another. */
  disconnect(reconnect?: boolean): void;
  /** Ends this client as {@link disconnect} does, and resolves when it has ended; `close` and `end` are emitted after that. */
  quit(): Promise<string>;
  /** A client with a connection of its own for blocking commands; its other commands use the manager's connection. */
  duplicate(options?: BullMQDuplicateOptions): BullMQClient;

  on(event: 'error', listener: (error: Error) => unknown): this;
  on(event: string, listener: (...args: unknown[]) => unknown): this;
  once(event: 'error', listener: (error: Error) => unknown): this;
  once(event: string, listener: (...args: unknown[]) => unknown): this;
  removeListener(event: 'error', listener: (error: Error) => unknown): this;
  removeListener(event: string, listener: (...args: unknown[]) => unknown): this;
  off(event: 'error', listener: (error: Error) => unknown): this;
  off(event: string, listener: (...args: unknown[]) => unknown): this;
  emit(event: string | symbol, ...args: unknown[]): boolean;
  setMaxListeners(n: number): this;
  getMaxListeners(): number;
  removeAllListeners(event?: string | symbol): this;

  /** Defines a script as `name`, here and in every later duplicate. */
  defineCommand(name: string, definition: BullMQScript): void;
  /** Runs a script: first its keys, then its other arguments. `null` and `undefined` become empty strings. */
  runCommand(name: string, args: readonly unknown[]): Promise<unknown>;
  /** Commands that are executed together or not at all. */
  multi(): BullMQTransaction;
  /** Commands that are sent together. */
  pipeline(): BullMQTransaction;

  hgetall(key: string): Promise<Record<string, string>>;
  hget(key: string, field: string): Promise<string | null>;
  hmget(key: string, ...fields: string[]): Promise<(string | null)[]>;
  hset(key: string, data: BullMQFields): Promise<number>;
  hdel(key: string, ...fields: string[]): Promise<number>;
  hexists(key: string, field: string): Promise<number>;
  get(key: string): Promise<string | null>;
  /** @param options `PX` in milliseconds or `EX` in seconds. */
  set(key: string, value: string | number, options?: { PX?: number | undefined; EX?: number | undefined }): Promise<string | null>;
  /** Without keys it does nothing and returns 0. */
  del(...keys: string[]): Promise<number>;
  zrange(key: string, start: number, end: number, options?: { WITHSCORES?: boolean | undefined }): Promise<string[]>;
  zrevrange(key: string, start: number, end: number, options?: { WITHSCORES?: boolean | undefined }): Promise<string[]>;
  zcard(key: string): Promise<number>;
  zscore(key: string, member: string): Promise<string | null>;
  lrange(key: string, start: number, end: number): Promise<string[]>;
  llen(key: string): Promise<number>;
  ltrim(key: string, start: number, end: number): Promise<string>;
  lpos(key: string, value: string): Promise<number | null>;
  smembers(key: string): Promise<string[]>;
  /** With `MAXLEN` the stream is trimmed to about that many entries, or to exactly that many if `approximate` is `false`. */
  xadd(
    key: string,
    id: string,
    fields: BullMQFields,
    options?: { MAXLEN?: number | undefined; approximate?: boolean | undefined },
  ): Promise<string>;
  /**
   * Returns `[stream, [id, [field, value, …]][]][]`, or `null` if there is nothing.
   *
   * @param options `BLOCK` in milliseconds; 0 waits for ever.
   */
  xread(
    streams: { key: string; id: string }[],
    options?: { BLOCK?: number | undefined; COUNT?: number | undefined },
  ): Promise<BullMQStreams | null>;
  xtrim(key: string, strategy: 'MAXLEN', threshold: number, options?: { approximate?: boolean | undefined }): Promise<number>;
  /** @param timeout In seconds, fractions allowed; 0 waits for ever. */
  bzpopmin(key: string, timeout: number): Promise<[key: string, member: string, score: string] | null>;
  /**
   * Any Redis command by its name. At runtime each command is also a method, in lower case and with the server's order of arguments, as with ioredis:
   * `client.xlen(key)`. A command that would change the shared connection is not a method, and is refused here.
   */
  call(name: string, ...args: unknown[]): Promise<unknown>;
  info(): Promise<string>;
  /** Names a duplicate's own connection. The shared connection keeps the manager's `clientName`. */
  clientSetName(name: string): Promise<string>;
  clientList(): Promise<string>;
  clientInfo(): Promise<string>;
  scan(cursor: string | number, options: { MATCH?: string | undefined; COUNT?: number | undefined }): Promise<[string, string[]]>;
  /** Keys in batches. */
  scanStream(options: { match: string; count?: number | undefined }): Readable;
  /** In a cluster: the clients to ask for the list of clients. */
  nodes?(): BullMQClient[];
}

/** Entries by stream. */
export type BullMQStreams = [stream: string, entries: [id: string, fields: string[]][]][];

/** The outcome of one command: its error, or its result. */
export type BullMQResult = [error: Error | null, result: unknown];

/** Commands that {@link exec} sends. */
export interface BullMQTransaction {
  hgetall(key: string): this;
  hset(key: string, data: BullMQFields): this;
  /** Returns the next cursor, and alternating fields and values. */
  hscan(key: string, cursor: string | number, options?: { COUNT?: number | undefined }): this;
  smembers(key: string): this;
  /** Returns the next cursor, and members. */
  sscan(key: string, cursor: string | number, options?: { COUNT?: number | undefined }): this;
  zrange(key: string, start: number, end: number): this;
  lrange(key: string, start: number, end: number): this;
  llen(key: string): this;
  /** Without keys it adds nothing. */
  del(...keys: string[]): this;
  runCommand(name: string, args: readonly unknown[]): this;
  /** The outcome of each command, in order. */
  exec(): Promise<BullMQResult[] | null>;
}
