/**
 * The client that BullMQ 5.77 and later, and 6, accept in place of an ioredis client. It is a copy of BullMQ's `IRedisClient`, so that this package
 * need not import BullMQ.
 */

import type { Readable } from 'node:stream';

/** Options of {@link BullMQClient.duplicate}. */
export interface BullMQDuplicateOptions {
  /** The name of the duplicate's connection in `CLIENT LIST`; `Queue.getWorkers()` finds workers by it. */
  connectionName?: string | undefined;
}

/** A script of {@link BullMQClient.defineCommand}. */
export interface BullMQScript {
  /** The number of arguments that are keys. The keys come first. */
  numberOfKeys: number;
  /** The text of the script. */
  lua: string;
  /** Without effect: every script runs on the master. */
  readOnly?: boolean | undefined;
}

/** A value of a hash or a stream entry. */
export type BullMQFields = Record<string, string | number>;

/**
 * A BullMQ client on the connections of a `RedisConnectionManager`.
 *
 * The client connects by itself, as ioredis clients do. Its `status` is `wait` before it is connected, `connecting`, `ready`, `reconnecting` or `end`.
 * Its events are `ready`, `close` (the connection is gone), `reconnecting`, `end` (the client will not reconnect by itself) and `error`, which is not
 * thrown if it has no listener.
 *
 * A call that fails because there is no connection rejects with a `RedisError` of kind `connection`, `timeout`, `closed` or `overloaded` and the
 * message `Connection is closed.`, which tells BullMQ that it may try again. After every failure {@link connect} rejects with that message too.
 * `cause` says what happened.
 */
export interface BullMQClient {
  /** ioredis' word for the state: `wait`, `connecting`, `ready`, `reconnecting`, `end`, … */
  status: string;
  /** Is the server a Redis Cluster? */
  readonly isCluster: boolean;
  /** Options that BullMQ reads; none of them is a secret. */
  options: Record<string, unknown>;

  /**
   * Connects. The client tries until a server answers, because BullMQ calls `connect()` only once. Rejects with kind `closed` when the manager or this
   * client is disconnected, and at once with kind `auth` or `tls`, because waiting does not help then. A client that has ended before tries once. A
   * manager that the user has disconnected is not connected again.
   */
  connect(): Promise<void>;
  /**
   * Ends this client; the manager and other clients stay as they are. A duplicate closes its own connection. With `true` it opens a new connection.
   */
  disconnect(reconnect?: boolean): void;
  /** Ends this client as {@link disconnect} does, and resolves when it has ended; `close` and `end` are emitted after that. */
  quit(): Promise<string>;
  /** A client with its own connection for blocking commands; its other commands use the manager's connection. */
  duplicate(options?: BullMQDuplicateOptions): BullMQClient;

  /** Adds a listener. */
  on(event: 'error', listener: (error: Error) => unknown): this;
  on(event: string, listener: (...args: unknown[]) => unknown): this;
  /** Adds a listener for one event. */
  once(event: 'error', listener: (error: Error) => unknown): this;
  once(event: string, listener: (...args: unknown[]) => unknown): this;
  /** Removes a listener. */
  removeListener(event: 'error', listener: (error: Error) => unknown): this;
  removeListener(event: string, listener: (...args: unknown[]) => unknown): this;
  /** Removes a listener. */
  off(event: 'error', listener: (error: Error) => unknown): this;
  off(event: string, listener: (...args: unknown[]) => unknown): this;
  /** Calls the listeners of an event. */
  emit(event: string | symbol, ...args: unknown[]): boolean;
  /** Sets the number of listeners of one event above which Node warns of a leak. */
  setMaxListeners(n: number): this;
  /** The number of listeners of one event above which Node warns of a leak. */
  getMaxListeners(): number;
  /** Removes all listeners of one event, or of all. */
  removeAllListeners(event?: string | symbol): this;

  /** Defines a script as `name`, here and in every later duplicate. */
  defineCommand(name: string, definition: BullMQScript): void;
  /** Runs a script: first its keys, then its other arguments. `null` and `undefined` become empty strings. */
  runCommand(name: string, args: readonly unknown[]): Promise<unknown>;
  /** Commands that are executed together or not at all. */
  multi(): BullMQTransaction;
  /** Commands that are sent together. */
  pipeline(): BullMQTransaction;

  /** All fields of a hash, and their values. */
  hgetall(key: string): Promise<Record<string, string>>;
  /** The value of a field of a hash; `null` if the field does not exist. */
  hget(key: string, field: string): Promise<string | null>;
  /** The values of fields of a hash, in order; `null` for each field that does not exist. */
  hmget(key: string, ...fields: string[]): Promise<(string | null)[]>;
  /** Sets fields of a hash. Returns the number of new fields. */
  hset(key: string, data: BullMQFields): Promise<number>;
  /** Deletes fields of a hash. Returns the number of deleted fields. */
  hdel(key: string, ...fields: string[]): Promise<number>;
  /** 1 if the hash has the field, else 0. */
  hexists(key: string, field: string): Promise<number>;
  /** The text at a key; `null` if there is none. */
  get(key: string): Promise<string | null>;
  /**
   * Sets the text at a key.
   *
   * @param options The expiry: `PX` in milliseconds or `EX` in seconds.
   */
  set(key: string, value: string | number, options?: { PX?: number | undefined; EX?: number | undefined }): Promise<string | null>;
  /** Deletes keys, and returns the number of deleted keys. Without keys it does nothing and returns 0. */
  del(...keys: string[]): Promise<number>;
  /** Members of a sorted set by rank, both ends included; with `WITHSCORES` each member is followed by its score. */
  zrange(key: string, start: number, end: number, options?: { WITHSCORES?: boolean | undefined }): Promise<string[]>;
  /** As {@link zrange}, from the highest score down. */
  zrevrange(key: string, start: number, end: number, options?: { WITHSCORES?: boolean | undefined }): Promise<string[]>;
  /** The number of members of a sorted set. */
  zcard(key: string): Promise<number>;
  /** The score of a member; `null` if the set does not have the member. */
  zscore(key: string, member: string): Promise<string | null>;
  /** Elements of a list, both ends included. */
  lrange(key: string, start: number, end: number): Promise<string[]>;
  /** The length of a list. */
  llen(key: string): Promise<number>;
  /** Keeps a range of a list, both ends included. */
  ltrim(key: string, start: number, end: number): Promise<string>;
  /** The first place of a value in a list; `null` if the list does not have the value. */
  lpos(key: string, value: string): Promise<number | null>;
  /** The members of a set. */
  smembers(key: string): Promise<string[]>;
  /**
   * Appends an entry to a stream, and returns its id. With `MAXLEN` the stream is trimmed to about that many entries, or to exactly that many if
   * `approximate` is `false`.
   */
  xadd(
    key: string,
    id: string,
    fields: BullMQFields,
    options?: { MAXLEN?: number | undefined; approximate?: boolean | undefined },
  ): Promise<string>;
  /**
   * Reads entries of streams. Returns `[stream, [id, [field, value, …]][]][]`, or `null` if there are no entries.
   *
   * @param options `BLOCK` in milliseconds; 0 waits for ever.
   */
  xread(
    streams: { key: string; id: string }[],
    options?: { BLOCK?: number | undefined; COUNT?: number | undefined },
  ): Promise<BullMQStreams | null>;
  /** Trims a stream. Returns the number of deleted entries. */
  xtrim(key: string, strategy: 'MAXLEN', threshold: number, options?: { approximate?: boolean | undefined }): Promise<number>;
  /**
   * Removes the member with the lowest score from a sorted set. Waits for a member; `null` after the timeout.
   *
   * @param timeout In seconds, fractions allowed; 0 waits for ever.
   */
  bzpopmin(key: string, timeout: number): Promise<[key: string, member: string, score: string] | null>;
  /**
   * Any Redis command by its name. At runtime each command is also a method, in lower case and with the server's order of arguments, as with ioredis:
   * `client.xlen(key)`. A command that would change the shared connection is not a method, and is refused here.
   */
  call(name: string, ...args: unknown[]): Promise<unknown>;
  /** The server's answer to `INFO`. */
  info(): Promise<string>;
  /** Names a duplicate's own connection. The shared connection keeps the manager's `clientName`. */
  clientSetName(name: string): Promise<string>;
  /** The server's list of its clients. */
  clientList(): Promise<string>;
  /** The server's description of the shared connection. */
  clientInfo(): Promise<string>;
  /** One page of keys: the next cursor, and the keys of this page. */
  scan(cursor: string | number, options: { MATCH?: string | undefined; COUNT?: number | undefined }): Promise<[string, string[]]>;
  /** A stream of all matching keys, in batches. */
  scanStream(options: { match: string; count?: number | undefined }): Readable;
  /** In a cluster: the clients whose `clientList()` BullMQ reads. */
  nodes?(): BullMQClient[];
}

/** Entries by stream. */
export type BullMQStreams = [stream: string, entries: [id: string, fields: string[]][]][];

/** The outcome of one command: its error, or its result. */
export type BullMQResult = [error: Error | null, result: unknown];

/** Commands that {@link exec} sends together. Each other method adds a command. */
export interface BullMQTransaction {
  /** All fields of a hash, and their values. */
  hgetall(key: string): this;
  /** Sets fields of a hash. */
  hset(key: string, data: BullMQFields): this;
  /** One page of a hash: the next cursor, and alternating fields and values. */
  hscan(key: string, cursor: string | number, options?: { COUNT?: number | undefined }): this;
  /** The members of a set. */
  smembers(key: string): this;
  /** One page of a set: the next cursor, and members. */
  sscan(key: string, cursor: string | number, options?: { COUNT?: number | undefined }): this;
  /** Members of a sorted set by rank, both ends included. */
  zrange(key: string, start: number, end: number): this;
  /** Elements of a list, both ends included. */
  lrange(key: string, start: number, end: number): this;
  /** The length of a list. */
  llen(key: string): this;
  /** Deletes keys. Without keys it adds nothing. */
  del(...keys: string[]): this;
  /** A script that was defined with {@link BullMQClient.defineCommand}. */
  runCommand(name: string, args: readonly unknown[]): this;
  /** Sends the commands. Returns the outcome of each command, in order. */
  exec(): Promise<BullMQResult[] | null>;
}
