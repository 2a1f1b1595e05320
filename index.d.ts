/// <reference types="node" />
import { Readable } from 'node:stream';

/** A message with its metadata. */
export interface Envelope<T = unknown> {
  /** The unique id, which is the same at each attempt: 1 to 512 characters. */
  id: string;
  /** What kind of message it is: at most 1 024 characters. */
  type: string;
  /** When the message was made: ISO 8601, UTC. */
  ts: string;
  /** The correlation id, which is the same for all messages with the same cause: 1 to 512 characters. */
  corrId: string;
  /** At most 512 characters. */
  tenantId?: string | undefined;
  /** The content of the message: anything that JSON can express. */
  payload: T;
  /** The number of earlier attempts, from 0. */
  attempts: number;
  /** Why the last attempt failed: at most 1 024 characters arrive. */
  lastError?: string | undefined;
  /** The W3C trace context of the message. */
  traceparent?: string | undefined;
}
/**
 * A new envelope. In a handler of a bus it inherits the `corrId`, the `tenantId` and the trace context of the handler's message.
 *
 * @param type What kind of message it is: 1 to 1 024 characters.
 * @param corrId 1 to 512 characters. Default: that of the handler's message; outside of a handler the id of the new envelope.
 * @param tenantId 1 to 512 characters. Default: that of the handler's message; outside of a handler none.
 * @throws RedisError of kind `config`.
 */
export declare function createEnvelope<T>(type: string, payload: T, corrId?: string, tenantId?: string): Envelope<T>;
/**
 * The envelope of the next attempt: the same id and corrId, `attempts` one higher, and the message of `error` as `lastError`, in at most 1 024
 * characters.
 *
 * @throws RedisError of kind `config` if `envelope` is not an envelope.
 */
export declare function retryEnvelope<T>(envelope: Envelope<T>, error: unknown): Envelope<T>;
/** Is `value` an envelope? Envelopes of other programs count too. */
export declare function isEnvelope(value: unknown): value is Envelope;

/** The metadata that messages and jobs with the same cause share. */
export interface Correlation {
  /** 1 to 512 characters. */
  readonly corrId: string;
  /** At most 512 characters. */
  readonly tenantId?: string | undefined;
  /** The W3C trace context. */
  readonly traceparent?: string | undefined;
}
/**
 * The correlation that messages and jobs get when they are published or added here. It is the correlation of the message or job whose handler or
 * processor runs, or of {@link withCorrelation}; `undefined` outside of both.
 */
export declare function correlation(): Correlation | undefined;
/**
 * Runs `run`. Messages that `run` publishes, directly or later in its asynchronous work, get this correlation; jobs that it adds get its `corrId`. Use
 * it where a chain of messages starts: in an HTTP request, in a timer.
 *
 * @throws RedisError of kind `config`; what `run` throws.
 */
export declare function withCorrelation<T>(given: Correlation, run: () => T): T;

/** Options of a {@link MessageBus}. Unknown names are refused. */
export interface MessageBusOptions {
  /** A prefix of every topic of this bus, inside the manager's namespace; a colon follows each of the two. Default: none. */
  namespace?: string | undefined;
  /** The manager whose connections subscribe and consume. Default: the bus' `manager`. */
  subscriber?: IRedisConnection | undefined;
  /**
   * `true`: live topics are sharded channels (`SPUBLISH`), which in a cluster stay on the node of their slot instead of going to all nodes. Needs
   * Redis 7. Publishers and subscribers must use the same setting. Patterns are not available. Default false.
   */
  sharded?: boolean | undefined;
  /**
   * How long messages of durable topics are kept after every group has acknowledged them. All three bounds hold: the newest `maxLength` messages
   * (from 0 to 1 000 000 000 000, default 100 000), the newest `maxBytes` (of keys and messages, from 0 to 1 000 000 000 000 000, default 1 GiB), and
   * `maxAgeMs` (milliseconds, from 0, default a day). Messages that a group has not acknowledged are never trimmed. The publisher's setting counts; a
   * few more messages than the bounds allow may be kept.
   */
  retention?:
    | {
        maxLength?: number | undefined;
        maxBytes?: number | undefined;
        maxAgeMs?: number | undefined;
      }
    | undefined;
  /** The most live messages that may wait, per subscription, from 1. Default 100 000. */
  maxPending?: number | undefined;
  /** The most bytes of the waiting messages, from 1; a single message may be larger. Default 64 MiB. */
  maxPendingBytes?: number | undefined;
  /** How long the end of a subscription waits for running handlers, in milliseconds. Default 5 000. */
  closeTimeoutMs?: number | undefined;
}
/** Options of {@link MessageBus.publish}. */
export interface PublishOptions {
  /** Durable messages of one key are handled strictly in order; live handlers get the key. At most 1 024 characters. */
  key?: string | undefined;
  /** `true`: appends to the topic's stream too, in one step with the live publication. Default false. */
  durable?: boolean | undefined;
  /**
   * Durable: a message with this id is appended and sent to live subscribers once within `dedupeMs`, so a publication with an unknown outcome can be
   * repeated. 1 to 512 characters. For a bare value it is also the id of the envelope. Default, if `dedupeMs` is given: the id of the envelope.
   */
  id?: string | undefined;
  /** Durable: milliseconds for which the id counts once, from 1. Default, if `id` is given: 120 000. */
  dedupeMs?: number | undefined;
  /** The W3C trace context of the message. Default: the trace context of the envelope, or of the message whose handler publishes. */
  traceparent?: string | undefined;
}
/** Options of {@link MessageBus.subscribe}. */
export interface SubscribeOptions {
  /** How many handlers of this subscription may run at once, from 1. Default: `maxPending` for a live subscription, 1 for a durable subscription. */
  concurrency?: number | undefined;
  /** Live: the most messages that may wait, from 1. Beyond this bound the oldest is dropped and counted, and `slow` is emitted. Default: the bus'. */
  maxPending?: number | undefined;
  /** Live: the most bytes of the waiting messages, from 1; a single message may be larger. Default: the bus'. */
  maxPendingBytes?: number | undefined;
  /** Durable: the consumer group of the topic's stream. Delivery is at least once. */
  group?: string | undefined;
  /** Durable: where a new group starts to read: `new`, `start`, an id of the stream or an ISO time. Default `new`. */
  from?: 'new' | 'start' | (string & {}) | undefined;
  /**
   * Durable: `maxAttempts` before a message becomes a dead letter (default 5), and the delay between attempts: random between `minDelayMs` (default 1
   * 000) and a bound that doubles with each failure, up to `maxDelayMs` (default 60 000).
   */
  retry?:
    | {
        maxAttempts?: number | undefined;
        minDelayMs?: number | undefined;
        maxDelayMs?: number | undefined;
      }
    | undefined;
  /**
   * Durable: milliseconds, from 100, without a sign of life, after which other consumers take over a consumer's messages. A blocked event loop does
   * not matter: Rust sends the signs. Default 30 000.
   */
  claimAfterMs?: number | undefined;
  /** Durable: how long a handler may run, in milliseconds. After that its signal is aborted, and the attempt has failed. Default 600 000. */
  timeoutMs?: number | undefined;
  /** Ends the subscription. Before the server has confirmed it, the call rejects with kind `cancelled`. */
  signal?: AbortSignal | undefined;
}
/** Options of {@link MessageBus.messages}. */
export interface MessagesOptions {
  /** The most messages that may wait, from 1. Beyond this bound the oldest is dropped and counted, and `slow` is emitted. Default: the bus'. */
  maxPending?: number | undefined;
  /** The most bytes of the waiting messages, from 1; a single message may be larger. Default: the bus'. */
  maxPendingBytes?: number | undefined;
  /** Ends the iteration. */
  signal?: AbortSignal | undefined;
}
/** Options of {@link MessageBus.request}. */
export interface RequestOptions {
  /** Milliseconds until the request rejects with kind `timeout`. Default 5 000. */
  timeoutMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. */
  signal?: AbortSignal | undefined;
}
/** The second argument of a handler. */
export interface MessageContext {
  /** The topic of the message. */
  readonly topic: string;
  /** The key of the message. If another program published a key that is not UTF-8, the key has replacement characters. */
  readonly key?: string | undefined;
  /** The pattern of the subscription, if it was made by {@link MessageBus.psubscribe}. */
  readonly pattern?: string | undefined;
  /** Durable: the consumer group. */
  readonly group?: string | undefined;
  /** Durable: the message's id in the stream. */
  readonly streamId?: string | undefined;
  /** The number of this attempt, from 1. */
  readonly attempt: number;
  /** Aborted when the subscription ends, or when a durable message belongs to another consumer. */
  readonly signal: AbortSignal;
}
/**
 * Ends a subscription. From the call on its handler is not called again. Resolves when the running handlers have ended, or `closeTimeoutMs` has
 * passed. For the last subscription of this bus to a topic the server must confirm the end too, unless the server is away or the bus or the manager
 * is closed. Idempotent.
 *
 * @throws RedisError of kind `timeout` if a connected server does not confirm within `commandTimeoutMs`; no handler gets a message even then.
 */
export type Unsubscribe = (() => Promise<void>) & {
  [Symbol.asyncDispose](): Promise<void>;
};

/** The server that a call goes to. */
export interface Endpoint {
  /** The number of the database. */
  database: number;
  /** The host, or the path of a Unix socket. */
  serverAddress: string;
  /** The port; `undefined` for a Unix socket. */
  serverPort: number | undefined;
  /** The name of the client, and a number that is different for each manager of a process. */
  clientId: string;
}
/** The context of a `redis-backplane:command` trace. */
export interface CommandTrace extends Endpoint {
  /** The name of the command, in capitals. */
  command: string;
  /** One `?` for each argument: keys and values are never shown. */
  args: readonly string[];
}

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
  /** A lock, job, registration or thread now belongs to another holder. */
  | 'lease-lost'
  /** Another writer was faster: the data that the caller has read are no longer the latest. */
  | 'conflict'
  /** The caller's `AbortSignal` was aborted. */
  | 'cancelled';
/**
 * Did the server possibly act? `not-sent`: not a byte left this process. `maybe-executed`: the call was sent, and no answer came. `rejected`: the
 * server refused the call.
 */
export type RedisErrorDelivery = 'not-sent' | 'maybe-executed' | 'rejected';
/** Further fields of a {@link RedisError}. */
export interface RedisErrorFields {
  /** The first word of an error reply, such as `WRONGTYPE`. */
  serverCode?: string | undefined;
  /** Default false. */
  retryable?: boolean | undefined;
  /** Default `not-sent`. */
  delivery?: RedisErrorDelivery | undefined;
  /** The error that caused this error. */
  cause?: unknown;
}
/**
 * Every failure of this package. `instanceof RedisError` holds across copies of the package and across VM contexts.
 * No message contains a password, the credentials of a URL or a payload.
 *
 * @example
 * try {
 *   await kv.set('k', 1);
 * } catch (error) {
 *   if (error instanceof RedisError && error.delivery === 'not-sent') await kv.set('k', 1);
 *   else throw error;
 * }
 */
export declare class RedisError extends Error {
  /** What kind of failure it is. */
  readonly redisErrorKind: RedisErrorKind;
  /** Stable, one per kind: `ERR_REDIS_TIMEOUT`, `ERR_REDIS_LEASE_LOST`, … */
  readonly code: string;
  /** The first word of an error reply (`WRONGTYPE`, `NOAUTH`, …), for kinds `server` and `auth`. */
  readonly serverCode?: string | undefined;
  /** May a retry of the same call succeed? `delivery` says whether a retry is safe. */
  readonly retryable: boolean;
  /** Did the server possibly act on the call? */
  readonly delivery: RedisErrorDelivery;
  constructor(kind: RedisErrorKind, message: string, fields?: RedisErrorFields);
  /** True for an error of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}

/** The events of a {@link MessageBus}, with the argument of their listeners. */
export interface BusEvents {
  /**
   * A handler threw, rejected or did not end in time; or the server refused a consumer's call, or had lost records of the group. Without a listener
   * nothing is thrown.
   */
  error: {
    topic: string;
    /** The id of the handler's message. */
    envelopeId?: string;
    corrId?: string;
    pattern?: string;
    /** The consumer group of a durable subscription. */
    group?: string;
    error: unknown;
  };
  /** A message is not JSON, and no handler got it; or an entry among the dead letters is not a dead letter, and `redrive` skipped it. */
  malformed: {
    topic: string;
    pattern?: string;
    group?: string;
    streamId?: string;
    /** The entry's id among the dead letters of the group. */
    letterId?: string;
    /** The length of the message. */
    bytes: number;
  };
  /**
   * A message became a dead letter with a consumer of this bus. Not emitted if the connection was lost at that moment: {@link DeadLetters.count} is
   * exact.
   */
  'dead-letter': {
    topic: string;
    group: string;
    /** The message's id among the dead letters of the group. */
    letterId: string;
    /** The message's id in the topic's stream. */
    streamId: string;
    /** How many attempts were made. */
    attempts: number;
    /** Why the last attempt failed. */
    lastError: string;
  };
  /** A live subscription is confirmed again after an interruption: messages may have been missed. */
  gap: {
    topic: string;
    pattern?: string /** How long the interruption lasted, in milliseconds. */;
    durationMs: number;
  };
  /**
   * Live messages were dropped: the oldest waiting messages, because more arrived than were handled, or a message that is longer than
   * `maxReplyBytes`.
   */
  slow: {
    topic: string;
    pattern?: string /** The number of messages dropped since the last `slow` event. */;
    dropped: number;
  };
}

/** A message that has used up its attempts, or that is not JSON. */
export interface DeadLetter<T = unknown> {
  /** The id among the group's dead letters. */
  readonly id: string;
  /** The id in the topic's stream; empty if the entry is damaged. */
  readonly streamId: string;
  /** When the message became a dead letter, in milliseconds of the server's time since 1970. */
  readonly failedAt: number;
  /** How many attempts were made. */
  readonly attempts: number;
  /** Why the last attempt failed; `not JSON` if there was no attempt. */
  readonly lastError: string;
  /** The ordering key with which the message was published. */
  readonly key?: string | undefined;
  /** The message; `undefined` if the message is not JSON. */
  readonly envelope?: Envelope<T> | undefined;
  /** `true` for an entry that is not a dead letter: `redrive` skips it, `purge` deletes it. */
  readonly damaged?: true | undefined;
}
/** Options of {@link DeadLetters.list}. */
export interface DeadLetterListOptions {
  /** The list starts after this `id`. Default: at the oldest dead letter. */
  after?: string | undefined;
  /** The most dead letters to return, from 1 to 10 000. Default 100. */
  limit?: number | undefined;
}
/** Options of {@link DeadLetters.redrive}. */
export interface RedriveOptions {
  /** The most dead letters to deliver again, oldest first, from 1. Default: all that exist at the time of the call. */
  limit?: number | undefined;
}
/** The dead letters of one consumer group of a topic. They stay until they are redriven or purged. */
export interface DeadLetters {
  /** The number of dead letters. */
  count(): Promise<number>;
  /** The dead letters, oldest first, damaged entries included. */
  list<T = unknown>(options?: DeadLetterListOptions): Promise<DeadLetter<T>[]>;
  /**
   * Delivers dead letters to the group again, and to no other group, behind the topic's present messages. Each message has all its attempts again;
   * `attempts` of the envelope goes on counting. An entry that is not a dead letter stays, and `malformed` is emitted with its `letterId`.
   *
   * @param which The ids of the dead letters, or the number of dead letters; default all.
   * @returns The number of dead letters that are delivered again.
   */
  redrive(which?: readonly string[] | RedriveOptions): Promise<number>;
  /**
   * Deletes dead letters.
   *
   * @param ids Default: all.
   * @returns The number of deleted dead letters.
   */
  purge(ids?: readonly string[]): Promise<number>;
}

/** A consumer group of a durable topic. */
export interface TopicGroup {
  /** The group's name. */
  readonly name: string;
  /**
   * How many messages of the topic the group has not acknowledged. If the server does not count unread messages, at most 1 000 of the unread messages
   * are included.
   */
  readonly lag: number;
  /** How many of the unacknowledged messages were read: a handler works on them, or they wait for a retry, or behind other messages of their key. */
  readonly pending: number;
  /** How many consumers of this package are alive. */
  readonly consumers: number;
  /** When a consumer was last active, in milliseconds of the server's time since 1970; the current time while a consumer is alive. */
  readonly lastActiveAt?: number | undefined;
}

/**
 * Publish and subscribe on one manager. Topics are Redis channels, `<namespace>:<topic>`, so other programs can take part.
 *
 * Live messages reach the current subscribers; durable messages (`durable: true`) are also kept in a stream for consumer groups. A handler that
 * throws, rejects or never ends affects no other handler.
 *
 * @example
 * const bus = new MessageBus(manager);
 * await bus.subscribe<Order>('orders', ({ payload }) => ship(payload));
 * await bus.publish('orders', { id: 7 });
 */
export declare class MessageBus {
  /**
   * Opens nothing: the first use connects.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: MessageBusOptions);
  /**
   * Resolves when the manager is connected and every subscription is confirmed, after an interruption too.
   *
   * @throws RedisError what `connect()` rejects with; `timeout`; `closed`.
   */
  ready(): Promise<void>;
  /**
   * Publishes a message.
   *
   * @param topic 1 to 1 024 bytes of UTF-8 without control characters, with no `~` at its start or after a colon.
   * @param message An {@link Envelope}, or a value, which is wrapped in a new envelope with the topic as its type.
   * @returns The number of live subscriptions, in all processes, to which the server sent the message; in a cluster only the subscriptions at one
   * node count. 0 if the message's `id` was published before.
   * @throws RedisError of kind `config` for a bad topic, option or payload; what a command rejects with.
   */
  publish<T>(topic: string, message: Envelope<T> | T, options?: PublishOptions): Promise<number>;
  /**
   * Subscribes `handler` to a topic: to its live messages, or with `group` to its durable messages, as a consumer of that group. Resolves when the
   * server has confirmed the subscription. Every message that is published after that arrives.
   *
   * The handler is called for live messages in order of arrival. The next call starts before the previous call has ended, unless `concurrency` is
   * given. Handlers run in the AsyncLocalStorage contexts of this call.
   *
   * @throws RedisError of kind `config`; `timeout` if the server does not confirm within `commandTimeoutMs`; `cancelled`; `closed`.
   */
  subscribe<T>(
    topic: string,
    handler: (message: Envelope<T>, context: MessageContext) => unknown,
    options?: SubscribeOptions,
  ): Promise<Unsubscribe>;
  /**
   * As {@link subscribe}, for the live messages of all topics that match a glob pattern (`*`, `?`, `[a-z]`, `\` before a literal character).
   */
  psubscribe<T>(
    pattern: string,
    handler: (message: Envelope<T>, context: MessageContext) => unknown,
    options?: Omit<SubscribeOptions, 'group' | 'from' | 'retry' | 'claimAfterMs' | 'timeoutMs'>,
  ): Promise<Unsubscribe>;
  /**
   * The live messages of a topic as an async iterable. Each iteration is a subscription of its own. It starts with the iteration, and ends with it,
   * with `signal` or with `close()`. Messages that wait between two steps are bounded, as for a handler.
   *
   * @throws RedisError of kind `config`; the iteration throws what `subscribe()` rejects with.
   */
  messages<T>(topic: string, options?: MessagesOptions): AsyncIterable<Envelope<T>>;
  /**
   * Publishes a request and returns the payload of the first reply.
   *
   * @throws RedisError of kind `connection` at once if nobody is subscribed to the topic, and when the connection is lost before the reply;
   * `timeout`; `cancelled`. {@link ResponderError} with the responder's error.
   */
  request<Q, R>(topic: string, payload: Q, options?: RequestOptions): Promise<R>;
  /**
   * Replies to the requests on a topic with the result of `handler`, or with its error. Every responder of a topic gets every request.
   *
   * @throws RedisError as {@link subscribe}.
   */
  respond<Q, R>(topic: string, handler: (payload: Q, envelope: Envelope<Q>) => R | Promise<R>): Promise<Unsubscribe>;
  /** The dead letters of a consumer group. */
  deadLetters(topic: string, group: string): DeadLetters;
  /**
   * The consumer groups of a topic, with their lag and their consumers: also groups of other processes, and groups without consumers.
   *
   * @throws RedisError of kind `config`; what a command rejects with.
   */
  groups(topic: string): Promise<TopicGroup[]>;
  /**
   * Removes a consumer group without consumers, and its dead letters. The group no longer holds back the trimming of its topic.
   *
   * @returns Whether the group existed.
   * @throws RedisError of kind `config` while a consumer of the group is alive; what a command rejects with.
   */
  removeGroup(topic: string, group: string): Promise<boolean>;
  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this;
  /**
   * Ends every subscription. Waits for running handlers, then for the server to confirm, for at most `closeTimeoutMs` each. Pending requests and
   * later calls reject with kind `closed`. Idempotent. The manager stays as it is.
   */
  close(): Promise<void>;
  /** The same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
}
/**
 * A bus that publishes on `pub` and subscribes on `sub`. A single manager suffices for both: it opens the connections that each purpose needs.
 *
 * @param sub Default: `pub`.
 */
export declare function makeRedisBus(
  pub: IRedisConnection,
  sub?: IRedisConnection,
  options?: Omit<MessageBusOptions, 'subscriber'>,
): MessageBus;

/** The status that a worker declares. Only an `idle` or `busy` worker can be claimed. */
export type WorkerStatus = 'idle' | 'busy' | 'paused' | 'draining';
/**
 * The health of a worker, by its heartbeats and the server's clock. `healthy`: heartbeats come in time and the worker's event loop answers.
 * `degraded`: the worker is alive with a problem, see {@link WorkerInfo.degradedBecause}. `crashed`: no heartbeat for `crashedAfterMs` and one more
 * interval, or the process ended without unregistering; final for that epoch. `unknown`: the worker was never registered, or is forgotten; or its
 * heartbeat is overdue while no process may declare it crashed (after a restart of Redis, while a large share of the fleet is overdue, or in a
 * process that was itself cut off).
 */
export type WorkerHealth = 'healthy' | 'degraded' | 'crashed' | 'unknown';
/** The description of a worker at its registration. Unknown names are refused. */
export interface WorkerRegistration {
  /** 1 to 1 024 bytes of any characters. Default: a random UUID. A second registration of an id ends the first. */
  id?: string | undefined;
  /** 1 to 512 bytes. Default `worker`. */
  type?: string | undefined;
  /** The worker's capabilities: at most 256, each 1 to 512 bytes of any characters. Default: none. */
  capabilities?: string[] | undefined;
  /** An object that JSON can express in at most 64 KiB. Default `{}`. */
  metadata?: Record<string, unknown> | undefined;
  /** Slots that can be claimed at once: a whole number from 0 to 1 000 000. Default 1. */
  capacity?: number | undefined;
}
/** A worker's record at one moment. Times are milliseconds of the server's clock since 1970. */
export interface WorkerInfo {
  /** The id of the worker, unique in the registry. */
  id: string;
  /** The type that was given to `register`. */
  type: string;
  /** The capabilities that were given to `register`. */
  capabilities: string[];
  /** The metadata of `register`, or of the last heartbeat that changed them. */
  metadata: Record<string, unknown>;
  /** Slots that can be claimed at once. */
  capacity: number;
  /** The status that the worker declared last. */
  status: WorkerStatus;
  /** The health that the registry observes; see {@link WorkerHealth}. */
  health: WorkerHealth;
  /**
   * Why the worker is degraded. `late`: no heartbeat for `degradedAfterMs`. `event-loop-stalled`: heartbeats come, but the event loop has not answered
   * for `stalledAfterMs`. `reported`: the worker declared itself degraded. `undefined`: the worker is not degraded.
   */
  degradedBecause?: 'late' | 'event-loop-stalled' | 'reported' | undefined;
  /** The load that the worker reported: from 0, where 1 means full, rounded to millionths. */
  load: number;
  /** The number of slots that are claimed. */
  claimed: number;
  /** The fencing token of this registration: every later registration in this registry has a larger one. */
  epoch: number;
  /** When the worker was registered, in milliseconds of the server's time since 1970. */
  registeredAt: number;
  /** When the last heartbeat came, in milliseconds of the server's time since 1970. */
  lastHeartbeatAt: number;
  /** The name of the worker's machine. */
  hostname: string;
  /** The id of the worker's process. */
  pid: number;
  /** How long the event loop took to answer, in milliseconds, at the last heartbeat. Absent when the process has been gone for long. */
  eventLoopLagMs?: number | undefined;
  /** How long ago the event loop had last answered, in milliseconds, at the last heartbeat. */
  lastTickAgeMs?: number | undefined;
  /** The resident memory of the process, in bytes, when the event loop last answered. */
  memoryBytes?: number | undefined;
}
/** The changes that a heartbeat reports; fields that are left out stay as they were. */
export interface HeartbeatUpdate {
  /** The status that the worker declares from now on. */
  status?: WorkerStatus | undefined;
  /** From 0 to 1 000 000 000, where 1 means full. Rounded to millionths. */
  load?: number | undefined;
  /** New metadata, which replace the old metadata completely. */
  metadata?: Record<string, unknown> | undefined;
  /** `true`: the worker is degraded (`reported`) until it reports `false`. */
  degraded?: boolean | undefined;
}
/** A filter of workers. A worker must match every field. */
export interface WorkerFilter {
  /** The worker has this type. */
  type?: string | undefined;
  /** The worker has all these capabilities. */
  capabilities?: string[] | undefined;
  /** The worker declared this status. */
  status?: WorkerStatus | undefined;
  /** The registry observes this health. */
  health?: WorkerHealth | undefined;
  /** The most workers to return, an arbitrary choice. Default: all. */
  limit?: number | undefined;
}
/** The numbers of workers by health. Workers of unknown health are in `total` only. */
export interface WorkerCount {
  /** All workers that are not forgotten, including workers of unknown health. */
  total: number;
  /** Workers whose heartbeats come in time and whose event loops answer. */
  healthy: number;
  /** Workers that are alive, but late, stalled, or degraded by their own report. */
  degraded: number;
  /** Workers that crashed and are not forgotten yet. */
  crashed: number;
}
/** A command for a worker, delivered with its next heartbeat. Your code decides what to do about it. */
export interface WorkerCommand {
  /** What the worker is asked to do. */
  name: 'pause' | 'resume' | 'drain' | 'shutdown';
  /** Anything that JSON can express; with the name at most 64 KiB. */
  data?: unknown;
}
/** What happened to a worker. `status`: the worker declared another status. A repeated `degraded`: the reason has changed. */
export type WorkerEventName = 'joined' | 'left' | 'status' | 'degraded' | 'recovered' | 'crashed';
/** An event of the fleet. */
export interface WorkerEvent {
  /** What happened. */
  event: WorkerEventName;
  /** The position in the stream of events. */
  position: string;
  /** When it happened, in milliseconds of the server's time since 1970. */
  at: number;
  /** The worker as it was then. Metadata above 4 KiB are replaced by the present metadata, or by `{}` if the registration is over. */
  worker: WorkerInfo;
}
/** A damaged record of a registry. */
export interface MalformedRecord {
  /**
   * The part that could not be read. Of a worker: `id`, `state`, `definition`, `metadata`, `labels`, and `index` for an entry without a worker or in
   * the wrong place. `command`: a command that waits for a worker. `claim`, `crash`: an entry of the claims, or of the crashes to be reaped. `event`:
   * a past event. `counter`: a number. `key`: a whole key, of another type.
   */
  part: 'id' | 'state' | 'definition' | 'metadata' | 'labels' | 'index' | 'command' | 'claim' | 'crash' | 'event' | 'counter' | 'key';
  /** The worker's id, the claim, the event's position, the counter, the key; up to 1 024 bytes. */
  of: string;
}
/** The events of a registry, with the arguments of their listeners. */
export interface RegistryEvents {
  /** A worker was registered, for the first time or again. */
  joined: [worker: WorkerInfo];
  /** A registration ended: its holder ended it, or its id was registered again. */
  left: [worker: WorkerInfo];
  /** A worker declared another status. */
  status: [worker: WorkerInfo];
  /** A worker is alive with a problem, which `degradedBecause` names. Emitted again when the problem changes. */
  degraded: [worker: WorkerInfo];
  /** A degraded worker is healthy again. */
  recovered: [worker: WorkerInfo];
  /** A worker was declared crashed. */
  crashed: [worker: WorkerInfo];
  /**
   * Another process ended the registration of a worker of this process: the worker was declared crashed or forgotten, or its id was registered
   * elsewhere. `next` is the new registration, if the registry has registered the worker again. It is `null` if another process has the id, heartbeats
   * are not automatic, or the manager was disconnected.
   */
  fenced: [worker: WorkerInfo, next: WorkerInfo | null];
  /** A worker of this process was sent a command. */
  command: [command: WorkerCommand, worker: WorkerInfo];
  /**
   * This process found a record that this package has not written, and removed it; all other records are unchanged. If it was a worker's record, its
   * holder registers the worker again with the next heartbeat.
   */
  malformed: [record: MalformedRecord];
  /** Events were trimmed before this process had read them; `list()` gives the present state. */
  gap: [
    info: {
      missed: number;
    },
  ];
  /** Events cannot be read yet; the registry tries again. Without a listener nothing is thrown. */
  error: [error: RedisError];
}

/** The requirements on the worker. */
export interface ClaimRequest {
  /** The worker has all these capabilities. Default: none are required. */
  capabilities?: string[] | undefined;
  /** The worker has this type. Default: any. */
  type?: string | undefined;
  /** Milliseconds from 10 to 2 147 483 647 until the claim lapses, unless it is renewed. Default 30 000. */
  leaseMs?: number | undefined;
}
/** A claimed slot of a worker. */
export interface WorkerClaim {
  /** The id of the worker whose slot is claimed. */
  readonly workerId: string;
  /** The worker when it was claimed. */
  readonly worker: WorkerInfo;
  /** The fencing token: every later claim in this registry has a larger token. */
  readonly token: number;
  /**
   * Holds the slot for `leaseMs` from now. A claim is not renewed by itself.
   *
   * @param leaseMs Milliseconds from 10. Default: the `leaseMs` of the claim.
   * @returns `false` if the claim had lapsed, or its worker crashed, left or was registered again.
   */
  renew(leaseMs?: number): Promise<boolean>;
  /** Gives the slot back. `false`: the claim was already over. */
  release(): Promise<boolean>;
  /** The same as {@link release}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Options of {@link WorkerRegistry.elect}. */
export interface ElectOptions {
  /**
   * Milliseconds from 100 to 2 147 483 647: how long the role stays without a leader after this process is gone. While the process lives, Rust renews
   * the lease every third of that time. Default 15 000.
   */
  leaseMs?: number | undefined;
  /**
   * Milliseconds to wait for the role, then kind `timeout`, even if the server does not answer. 0: one attempt, without this bound. Default: no
   * bound.
   */
  waitMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. It does not touch a leadership that is held. */
  signal?: AbortSignal | undefined;
}
/** A role that this process leads. */
export interface Leadership {
  /** The role that was given to `elect`. */
  readonly role: string;
  /** The fencing token: every later leader has a larger token. Send the token along with writes, and let the receiver refuse smaller tokens. */
  readonly token: number;
  /**
   * Aborted when the leadership is lost: its lease ran out unconfirmed, another process leads, or the manager was disconnected. Its reason is a
   * `RedisError` of kind `lease-lost`. {@link resign} does not abort it.
   */
  readonly signal: AbortSignal;
  /** Gives the role up and wakes waiting candidates. Idempotent. */
  resign(): Promise<void>;
  /** The same as {@link resign}. */
  [Symbol.asyncDispose](): Promise<void>;
}

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
export declare class WorkerRegistry {
  /**
   * Opens and starts nothing before the first worker or listener.
   *
   * @throws RedisError of kind `config`, naming the option, or both options that contradict each other.
   */
  constructor(manager: IRedisConnection, options?: WorkerRegistryOptions);
  /**
   * Registers a worker under a new epoch. An earlier registration of the id ends. One call never registers a worker twice, even if the connection is
   * lost and the call is sent again.
   *
   * If the call rejects, the worker is not registered, or its registration ends as overdue. An earlier worker of this registry with the same id goes
   * on, under a new epoch if the server had ended its registration (`fenced`).
   *
   * @throws RedisError of kind `cancelled` if {@link unregister} of the id or {@link cleanup} was called before the worker was registered.
   */
  register(worker?: WorkerRegistration): Promise<WorkerInfo>;
  /**
   * Sends a heartbeat of a worker of this registry, with its changes. Calls made at once go to the server together.
   *
   * @returns `false` if the worker's registration is over (see the event `fenced`), or if this registry never registered the worker.
   */
  heartbeat(id: string, update?: HeartbeatUpdate): Promise<boolean>;
  /**
   * Sets values for the next automatic heartbeat of a worker, and sends nothing itself. A worker that this registry did not register is ignored.
   */
  report(
    id: string,
    now: {
      load?: number | undefined;
      degraded?: boolean | undefined;
    },
  ): void;
  /**
   * Declares the status of a worker of this registry, or of any worker of the fleet that this registry never held.
   *
   * @returns `false` if the worker is not registered, has crashed, or its registration by this registry is over. A registry changes an id that it
   * once held only under its own epoch.
   */
  setStatus(id: string, status: WorkerStatus): Promise<boolean>;
  /** A worker, or `null` if it is not registered. A crashed worker stays registered until it is forgotten. */
  get(id: string): Promise<WorkerInfo | null>;
  /** A worker's health; `unknown` if the worker was never registered, or is forgotten. */
  health(id: string): Promise<WorkerHealth>;
  /** Workers, in no particular order. Every worker that matches all the time is included; a worker that changes meanwhile may be included or not. */
  list(filter?: WorkerFilter): Promise<WorkerInfo[]>;
  /** As {@link list}, with the position from which {@link readEvents} returns everything that happened since. */
  snapshot(filter?: WorkerFilter): Promise<{
    workers: WorkerInfo[];
    position: string;
  }>;
  /**
   * The events after `position`; about the last 10 000 events are kept.
   *
   * @param position A position from {@link snapshot} or an earlier call. `0-0`: from the oldest event.
   * @param options `limit`: the most events to return, from 1 to 10 000. Default 1 000.
   * @returns The events in order, the position after them, and `complete`: `true` if no event in between was trimmed.
   */
  readEvents(
    position: string,
    options?: {
      limit?: number | undefined;
    },
  ): Promise<{
    events: WorkerEvent[];
    position: string;
    complete: boolean;
  }>;
  /**
   * The numbers of workers, by health. The cost does not depend on the number of workers, but on how many are overdue while no process may declare
   * them crashed.
   */
  count(): Promise<WorkerCount>;
  /**
   * Claims one slot of the least loaded healthy worker, `idle` or `busy`, that has every capability and a free slot. The load is the claimed slots
   * divided by the capacity, plus the reported load. Among workers with equal load, the worker that was claimed longest ago is chosen.
   *
   * @returns `null` if there is no such worker now.
   */
  claim(request?: ClaimRequest): Promise<WorkerClaim | null>;
  /**
   * Ends a registration, or takes a crashed worker off the list. The worker's claims become void. Any worker that this registry never held can be
   * ended. For an id that this registry holds or once held, only its own registration is ended, never a later registration by another process. The
   * newest 10 000 ids are remembered.
   *
   * @returns `false` if the worker was not registered, had crashed already, or its registration by this registry is over.
   */
  unregister(id: string): Promise<boolean>;
  /**
   * Returns the crashes that no caller has received yet. Each crash goes to exactly one caller in the fleet, no matter which process noticed it and
   * whether the worker is still listed. The newest 10 000 crashes are kept for a caller. If the call rejects, this registry's next call, within an
   * hour, returns the crashes that may have been lost.
   */
  reap(): Promise<WorkerInfo[]>;
  /**
   * Sends a command to a worker anywhere in the fleet; its registry emits `command` with the worker's next heartbeat. Commands arrive in order, and
   * each once while the worker's process lives.
   *
   * @returns `false` if no such worker is registered, or this registry once held it and its registration is over.
   * @throws RedisError of kind `overloaded` if 100 commands wait for the worker.
   */
  send(id: string, command: WorkerCommand | WorkerCommand['name']): Promise<boolean>;
  /**
   * Waits until this process leads `role`. At most one candidate in this registry's namespace leads a role. Rust renews the lease until the leader
   * resigns, its process ends, or the connection is lost for longer than the lease. Waiting keeps the process alive; leading does not.
   *
   * @param role 1 to 1 024 bytes of any characters.
   */
  elect(role: string, options?: ElectOptions): Promise<Leadership>;
  /**
   * Adds a listener. Listeners of fleet events (`joined`, `left`, `status`, `degraded`, `recovered`, `crashed`) get the events of every worker of the
   * fleet, in order, including the workers of this process. Once {@link ready} resolves, no event after this call is missed. Such a listener keeps the
   * process alive. A listener that throws or rejects is reported as a process warning and affects no other.
   */
  on<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this;
  /** Adds a listener for the next time only. */
  once<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this;
  /**
   * Resolves when the listeners of fleet events miss no further event; at once without such listeners. Rejects if events cannot be read yet: the
   * registry tries again by itself, and another call waits for the next attempt.
   */
  ready(): Promise<void>;
  /**
   * Unregisters this registry's workers, resigns its roles, removes its listeners and stops its tasks. Its claims run out with their leases.
   * Idempotent; afterwards the registry can be used again.
   */
  cleanup(): Promise<void>;
  /** The same as {@link cleanup}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Which checkpoints of a thread are kept. */
export interface CheckpointKeep {
  /** The newest so many, a whole number from 1. Default: all. */
  last?: number | undefined;
  /** Those that are younger than so many seconds, fractions allowed, above 0. Default: of any age. */
  ageSec?: number | undefined;
}
/** Options of a {@link CheckpointStore}. Unknown names are refused. */
export interface CheckpointStoreOptions {
  /**
   * A prefix of every key of this store, inside the manager's namespace. At most 512 bytes without control characters, not beginning with `~`.
   * Default: none.
   */
  namespace?: string | undefined;
  /** Seconds, above 0, after which a thread is gone that nobody saves or owns. Default: never. */
  ttlSec?: number | undefined;
  /** Bytes of one save, metadata included, from 1 to 512 MiB; more is refused with kind `config` and nothing is sent. Default 8 MiB. */
  maxBytes?: number | undefined;
  /** Bytes of a thread, from 1; a save with which it would have more is refused with kind `overloaded`, delivery `rejected`. Default 256 MiB. */
  maxThreadBytes?: number | undefined;
  /** Which checkpoints are kept when others are saved. Default `{ last: 1000 }`. */
  keep?: CheckpointKeep | undefined;
  /** The registry whose crashes count for threads that its workers own. Default: the registry in the manager's namespace. */
  registry?: WorkerRegistry | undefined;
}
/** Where a checkpoint is, within its thread. */
export interface ScopeOption {
  /** A part of a thread with a history of its own: at most 1 024 bytes. Default: the empty one. */
  scope?: string | undefined;
}
/** Options of {@link CheckpointStore.save}. */
export interface SaveOptions extends ScopeOption {
  /**
   * 1 to 1 024 bytes, greater than the ids of the scope (by their bytes in UTF-8). An id that is there with the same content gives the same answer, so
   * that a save whose answer was lost can be repeated. Default: the server makes one.
   */
  id?: string | undefined;
  /** The id that must be the latest of its scope; `null`: there must be none; `any`, the default: whatever is the latest. */
  parent?: string | null | undefined;
  /** Allows a `parent` that is not the latest, and an `id` that is not the greatest. Default false. */
  branch?: boolean | undefined;
  /** A fencing token: that of a run, a lock, a leadership or a registration. A smaller one than the thread has seen is refused. */
  fence?: number | undefined;
  /** An object that JSON can express; by its members {@link CheckpointStore.history} finds checkpoints. Default `{}`. */
  meta?: Record<string, unknown> | undefined;
}
/** What is told of a checkpoint. */
export interface CheckpointInfo {
  /** The name of the thread. */
  thread: string;
  /** The scope in the thread; `''` unless another one was named. */
  scope: string;
  /** The id, unique in its scope. */
  id: string;
  /** The id that it follows; `null` for the first. It may have been trimmed. */
  parent: string | null;
  /** When it was saved, in milliseconds of the server's time since 1970. */
  at: number;
  /** The bytes that its values added to the thread. */
  bytes: number;
  /** The metadata that it was saved with. */
  meta: Record<string, unknown>;
  /** Is it kept from being trimmed? */
  pinned: boolean;
}
/** An intermediate result of a step. */
export interface PendingWrite {
  /** The task that wrote it. */
  task: string;
  /** The name that the task gave it. */
  name: string;
  /** The value, as it came out of JSON. */
  value: unknown;
}
/** A checkpoint with its state and its pending writes. */
export interface Checkpoint<S = unknown> extends CheckpointInfo {
  /** The state, as it came out of JSON. */
  state: S;
  /** By task, and in the order in which each task gave them. */
  pending: PendingWrite[];
}
/** Options of {@link CheckpointStore.history}. */
export interface HistoryOptions extends ScopeOption {
  /** Only checkpoints with a smaller id. */
  before?: string | undefined;
  /** The largest number of checkpoints, a whole number from 1. Default: all. */
  limit?: number | undefined;
  /** Only checkpoints whose metadata have these members, with equal values. */
  where?: Record<string, unknown> | undefined;
}
/** Options of {@link CheckpointStore.addPending}. */
export interface PendingOptions extends ScopeOption {
  /** As in {@link SaveOptions}. */
  fence?: number | undefined;
}
/** Options of an owner of a thread. */
export interface OwnerOptions {
  /**
   * Milliseconds, from 100 to 2 147 483 647, after which the thread of a process that is gone is interrupted. Rust renews it every third of that time
   * while the process lives. Default 30 000.
   */
  leaseMs?: number | undefined;
  /** The owner's registration in a {@link WorkerRegistry}: when that declares it crashed, its threads are interrupted at once. */
  worker?:
    | {
        readonly id: string;
        readonly epoch: number;
      }
    | undefined;
}
/** Options of {@link CheckpointStore.acquire}. */
export interface AcquireOptions extends OwnerOptions {
  /** Milliseconds, from 0, to wait for a thread that another owner has. Default 0: one attempt. */
  waitMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. It does not touch a thread that is owned. */
  signal?: AbortSignal | undefined;
}
/** Options of {@link CheckpointStore.watch}. */
export interface WatchOptions {
  /** Begins behind this checkpoint of the scope `''`, or with all there are if it is not there. Default: with the next. */
  after?: string | undefined;
  /** Ends it. A watch that has not begun yet rejects with kind `cancelled`. */
  signal?: AbortSignal | undefined;
}
/** The interruption of a thread: its owner is gone. */
export interface Interruption {
  /** The id of its owner's worker in a registry, if the owner named one. */
  worker?: string | undefined;
  /** The epoch of that worker. */
  epoch?: number | undefined;
  /** When its lease ended, in milliseconds of the server's time since 1970. */
  at: number;
  /** How often the thread was interrupted since it was given back last. */
  times: number;
}
/** A thread whose owner is gone. */
export interface InterruptedThread extends Interruption {
  /** The name of the thread. */
  thread: string;
}
/** A thread that this process owns. */
export interface CheckpointRun<S = unknown> {
  /** The name of the thread. */
  readonly thread: string;
  /** The fencing token: every later owner has a larger one. Give it to whatever the work changes elsewhere. */
  readonly fence: number;
  /** Aborted when the thread is lost, with a `RedisError` of kind `lease-lost`: stop the work, because another process may have started it. */
  readonly signal: AbortSignal;
  /** Where to go on from: the latest of the scope `''` when the thread was taken. */
  readonly checkpoint: Checkpoint<S> | null;
  /** The interruption before this run; `null` if the thread was free. */
  readonly interrupted: Interruption | null;
  /**
   * Saves a state behind the one before. Where the answer is lost it asks again, for as long as the lease, and the state is saved once.
   *
   * @throws RedisError of kind `lease-lost` if the thread has another owner.
   */
  save(
    state: S,
    options?: {
      meta?: Record<string, unknown> | undefined;
    },
  ): Promise<CheckpointInfo>;
  /**
   * The work is over, and the thread is not to be resumed.
   *
   * @throws RedisError of kind `lease-lost` if the thread has another owner.
   */
  finish(outcome?: 'done' | 'failed'): Promise<void>;
  /** Gives the thread back. It is free then, and not interrupted. */
  pause(): Promise<void>;
  /** The same as {@link pause}. */
  [Symbol.asyncDispose](): Promise<void>;
}
/** Options of {@link CheckpointStore.resume}. */
export interface ResumeOptions extends OwnerOptions {
  /** How many threads this process takes at once: a whole number from 1 to 10 000. Default 1. */
  concurrency?: number | undefined;
  /** Interruptions of a thread, from 1, after which it has failed instead of being taken again. Default 5. */
  maxResumes?: number | undefined;
  /** A glob pattern of Redis for the threads that are taken. Default: every thread. */
  match?: string | undefined;
}
/** The second argument of a handler of {@link CheckpointStore.resume}. */
export interface ResumeContext {
  /** How often the thread was interrupted: 1 for the first time. */
  readonly attempt: number;
  /** The signal of the run. */
  readonly signal: AbortSignal;
}
/** Events of a {@link Resumer}, and what listeners are given. */
export interface ResumerEvents {
  /** A thread was taken, and its handler starts. */
  resumed: [thread: string];
  /** A thread was interrupted more often than `maxResumes`, and is not taken again. */
  failed: [thread: string, times: number];
  /** A handler threw, and its thread is interrupted again; or the server refused something. Without a listener it is a process warning. */
  error: [error: unknown, thread: string | undefined];
}

/** The handler of a thread that was taken over. */
export type ResumeHandler<S> = (run: CheckpointRun<S>, context: ResumeContext) => Promise<void> | void;
/**
 * Takes over interrupted threads until it is closed. While it is open it keeps the process alive.
 *
 * @example
 * const resumer = checkpoints.resume(async (run) => importFrom(run.checkpoint, run), { match: 'import:*' });
 * resumer.on('failed', (thread) => console.log(`${thread} was interrupted too often`));
 */
export declare class Resumer {
  /** Takes no more threads, and resolves when the handlers in hand have ended. Do not await it in a handler. */
  close(): Promise<void>;
  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof ResumerEvents>(event: E, listener: (...args: ResumerEvents[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof ResumerEvents>(event: E, listener: (...args: ResumerEvents[E]) => unknown): this;
  /** The same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The handler of new checkpoints. */
export type WatchHandler = (info: CheckpointInfo) => void | Promise<void>;

/**
 * States of long work (an import, a conversation, an agent's run), by *thread*: saved in order, never half, owned by at most one process at a time,
 * and taken over by exactly one other when that process is gone.
 *
 * Of every method:
 *
 * - A thread, an id and a task are strings of 1 to 1 024 bytes without the character U+0000.
 * - A state, metadata and pending writes are stored as `JSON.stringify` writes them; what JSON cannot express is refused with kind `serialization`
 *   before anything is sent.
 * - A bad argument rejects with kind `config`, naming it; and any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery`
 *   says whether the server may have acted.
 *
 * @example
 * const checkpoints = new CheckpointStore(manager);
 * const run = await checkpoints.acquire<{ row: number }>('import:7');
 * if (run) {
 *   for (let row = run.checkpoint?.state.row ?? 0; row < 1_000; row += 100) await run.save({ row });
 *   await run.finish();
 * }
 */
export declare class CheckpointStore {
  /**
   * Opens nothing: one manager serves any number of stores, and they need no closing.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: CheckpointStoreOptions);
  /**
   * Saves a state, all of it or nothing.
   *
   * @throws RedisError of kind `conflict`, naming the latest id, if `parent` is not the latest, or the id is there with another content; `lease-lost`
   * if another owner has the thread, or a larger `fence` was used; `config` above `maxBytes`; `overloaded`, delivery `rejected`, above `maxThreadBytes`.
   */
  save<S>(thread: string, state: S, options?: SaveOptions): Promise<CheckpointInfo>;
  /** The checkpoint of a scope with the greatest id, or `null`. One round trip, however long the history is. */
  latest<S = unknown>(thread: string, options?: ScopeOption): Promise<Checkpoint<S> | null>;
  /** The checkpoint with this id, or `null`. */
  get<S = unknown>(thread: string, id: string, options?: ScopeOption): Promise<Checkpoint<S> | null>;
  /** The checkpoints of a scope without their states, the greatest id first. They are read a page at a time. */
  history(thread: string, options?: HistoryOptions): AsyncGenerator<CheckpointInfo, void, undefined>;
  /**
   * Copies a checkpoint into another thread, under its id; its pending writes stay behind. Repeating it changes nothing.
   *
   * @throws RedisError of kind `config` if there is no such checkpoint; `conflict` if the other thread has other checkpoints in that scope.
   */
  fork(thread: string, id: string, into: string, options?: ScopeOption): Promise<CheckpointInfo>;
  /**
   * Adds the intermediate results of a task. They become `pending` of the checkpoint, which need not exist yet. A write with the same task and place
   * stays as it is, so the call can be repeated.
   */
  addPending(thread: string, id: string, task: string, writes: [name: string, value: unknown][], options?: PendingOptions): Promise<void>;
  /** Keeps a checkpoint from being trimmed; with `on` false it may be trimmed again. Returns `false` if there is no such checkpoint. */
  pin(thread: string, id: string, on?: boolean, options?: ScopeOption): Promise<boolean>;
  /**
   * Removes the oldest checkpoints beyond `keep`, but never the latest of a scope or a pinned one. It works in steps of at most 64, so that no other
   * caller waits long.
   *
   * @returns The number of removed checkpoints.
   */
  prune(thread: string, keep: CheckpointKeep): Promise<number>;
  /** Removes a thread with all its data. An owner loses the thread. Returns `false` if there was no such thread. */
  remove(thread: string): Promise<boolean>;
  /** The threads of this store that have a checkpoint, in no order. A thread that is created or removed meanwhile may be missing; a thread may come twice. */
  threads(options?: { prefix?: string | undefined }): AsyncGenerator<string, void, undefined>;
  /**
   * Takes a thread, whether it has checkpoints or not. Its lease is renewed from Rust, so that a blocked event loop keeps it. End each run with
   * `finish()`, `pause()` or `await using`: a run that is only dropped owns its thread until the process ends.
   *
   * @returns `null` if another owner has the thread for longer than `waitMs`.
   * @throws RedisError of kind `cancelled` when the signal is aborted.
   */
  acquire<S = unknown>(thread: string, options?: AcquireOptions): Promise<CheckpointRun<S> | null>;
  /** Threads whose owners' leases have ended by the server's clock, the longest overdue first. The cost grows with the number of overdue threads only. */
  interrupted(options?: { limit?: number | undefined }): Promise<InterruptedThread[]>;
  /**
   * Calls `handler` with threads that were interrupted. Each thread goes to one handler of all processes. A handler that returns without `finish()` gives
   * the thread back. If a handler throws, its thread stays interrupted, and is taken again after a pause that grows up to 30 seconds.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  resume<S = unknown>(handler: ResumeHandler<S>, options?: ResumeOptions): Resumer;
  /**
   * Calls `handler` with each new checkpoint of a thread, of any scope: one after another, in the order of the saves. None is left out, unless it is
   * trimmed before it is read. A watch keeps the process alive. An error of the handler is reported as a process warning.
   */
  watch(thread: string, handler: WatchHandler, options?: WatchOptions): Promise<Unsubscribe>;
}

/** Options of {@link KVStore.lock}. */
export interface LockOptions {
  /**
   * Milliseconds, from 100 to 2 147 483 647: how long the lock stays taken after this process is gone. While the process lives, the lease is renewed
   * every third of that time. Default 30 000.
   */
  leaseMs?: number | undefined;
  /**
   * Milliseconds, from 0, to wait for a lock that is held, or for a server that does not answer (but at least 250). Default 0: try once, for
   * `commandTimeoutMs`. Callers in one process get the lock in the order of their calls.
   */
  waitMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. It does not touch a lock that is held. */
  signal?: AbortSignal | undefined;
}
/** A lock that is held. */
export interface Lock {
  /** The key that was given to `lock`. */
  readonly key: string;
  /**
   * The fencing token: every later holder has a larger token, also after a lease ran out and after `FLUSHALL` (as long as the server's clock does not
   * go back). Send the token along with writes to other systems, and let them refuse a token smaller than the largest they have seen. Then a holder
   * that was stopped for longer than its lease can do no harm.
   */
  readonly token: number;
  /**
   * Aborted when the lock is lost: its lease ran out unconfirmed, another caller holds the lock, or the manager was disconnected. Its reason is a
   * `RedisError` of kind `lease-lost`. {@link release} does not abort it.
   */
  readonly signal: AbortSignal;
  /**
   * Renews the lease now; this and later renewals are for `leaseMs`.
   *
   * @param leaseMs Milliseconds, from 100. Default: the `leaseMs` of `lock`.
   * @throws RedisError of kind `lease-lost` if the lock is no longer held; `connection`, `timeout`, … if the server could not be asked (the lock is
   * held until its lease runs out).
   */
  extend(leaseMs?: number): Promise<void>;
  /**
   * Gives the lock back.
   *
   * @returns `false` if the lock was no longer held.
   * @throws RedisError of kind `connection`, `timeout`, … if the server could not be asked; the lock is no longer renewed and runs out.
   */
  release(): Promise<boolean>;
  /** The same as {@link release}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Options of {@link KVStore.update}. */
export interface UpdateOptions {
  /** Seconds until the new value expires; fractions allowed, above 0. Default: the present expiry is kept. */
  ttlSec?: number | undefined;
  /** The most attempts while other processes keep changing the value: a whole number from 1. After that kind `timeout`. Default 10. */
  maxAttempts?: number | undefined;
}

/** Options of a {@link KVStore}. Unknown names are refused. */
export interface KVStoreOptions {
  /**
   * A prefix of every key of this store, inside the manager's namespace; a colon follows each of the two. At most 512 bytes without
   * control characters, not beginning with `~`. Default: none.
   */
  namespace?: string | undefined;
}
/** Options of {@link KVStore.scan}. */
export interface ScanOptions {
  /** A glob pattern of Redis (`*`, `?`, `[a-z]`, `\` before a literal character) for keys without the namespace. Default: every key. */
  match?: string | undefined;
}
/** Options of {@link KVStore.getOrSet}. */
export interface GetOrSetOptions {
  /** Seconds for which a loaded value is fresh; fractions allowed, above 0. */
  ttlSec: number;
  /** Further seconds, from 0, for which the old value is still returned while a new one is loaded in the background. Default 0. */
  staleSec?: number | undefined;
  /**
   * How long to wait, in milliseconds from 0, for a value that another caller loads, in this process or another, or for a server that does not answer
   * (but at least 250 ms, at most `commandTimeoutMs` for each answer). After that kind `timeout`. Default 30 000. 0: do not wait for another caller's
   * load.
   */
  waitMs?: number | undefined;
  /**
   * How long `load` may take, in milliseconds from 1. After that its callers get kind `timeout`, its result is dropped, and other callers may load.
   * Default: `waitMs`, but at least 3 000.
   */
  loadTimeoutMs?: number | undefined;
}
/**
 * Values by key, stored as `JSON.stringify` writes them, so other programs can read them. The key in Redis is the manager's namespace, the store's
 * and `key`, one after another (without a namespace, `foo` is key `foo`).
 *
 * Of every method:
 *
 * - A key is a string of 1 byte to 1 MiB. `~` at its start or after a colon is refused: such keys are this package's own.
 * - `undefined`, a function, a symbol, a BigInt, `NaN`, an infinity and an object that contains itself are refused with kind
 *   `serialization` before anything is sent. Inside an object or an array JSON's own rules hold: `undefined` and functions are left
 *   out (`null` in an array), `NaN` and infinities become `null`.
 * - Stored text that is not JSON is returned as a string. Stored bytes that are not UTF-8 are refused with kind `serialization`:
 *   see {@link getBuffer}.
 * - `ttlSec` is in seconds, fractions allowed (exact to 1 ms, at least 1 ms), above 0 and up to 9 007 199 254 740.
 * - A bad argument rejects with kind `config`, naming it; a key that holds another type with kind `server`, `serverCode` `WRONGTYPE`;
 *   and any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery` says whether the server may have acted.
 *
 * @example
 * const kv = new KVStore(manager);
 * await kv.set('user:7', { name: 'Ann' }, 3_600);
 * const user = await kv.get<{ name: string }>('user:7');
 */
export declare class KVStore {
  /**
   * Opens nothing: one manager serves any number of stores, and they need no closing.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: KVStoreOptions);
  /** The value of `key`, or `null` if there is none. */
  get<T = unknown>(key: string): Promise<T | null>;
  /** Sets a value and its expiry. Without `ttlSec` the value has no expiry, and an earlier one is removed. */
  set<T>(key: string, value: T, ttlSec?: number): Promise<void>;
  /** Sets a value if there is none. Atomic. `false`: there was a value, and nothing was changed. */
  setIfAbsent<T>(key: string, value: T, ttlSec?: number): Promise<boolean>;
  /** The bytes of `key` as they are stored, or `null` if there is none. */
  getBuffer(key: string): Promise<Buffer | null>;
  /** Stores bytes as they are, and their expiry. Read them with {@link getBuffer}. */
  setBuffer(key: string, value: Uint8Array, ttlSec?: number): Promise<void>;
  /** Deletes keys and returns how many existed. Without keys it does nothing and returns 0. */
  del(...keys: string[]): Promise<number>;
  /** Is there a value, of any type? */
  has(key: string): Promise<boolean>;
  /** The values of `keys` in their order, all read at one moment; `null` for an absent value and for a value of another type. */
  mget<T = unknown>(keys: string[]): Promise<(T | null)[]>;
  /**
   * Sets any number of values, all or none. If a key comes twice, its last value counts.
   *
   * @param entries A record, a `Map`, or any iterable of pairs of key and value.
   * @param ttlSec The expiry of all values; without it they have none.
   */
  mset(entries: Record<string, unknown> | Iterable<[string, unknown]>, ttlSec?: number): Promise<void>;
  /**
   * Adds to a counter, which starts at 0. Atomic.
   *
   * @param by A whole number, of either sign. Default 1.
   * @param ttlSec The expiry of a counter that this call creates; an existing counter keeps its own.
   * @returns The new value.
   * @throws RedisError of kind `serialization` when the new value is beyond 2⁵³ − 1 (it is stored even so); `server` for a value that is not a whole
   * number or would leave 64 bits (nothing is changed).
   */
  incr(key: string, by?: number, ttlSec?: number): Promise<number>;
  /** Subtracts from a counter, as {@link incr} adds. */
  decr(key: string, by?: number): Promise<number>;
  /**
   * Sets `next` if the value is `expected`. Atomic.
   *
   * Values are compared as JSON: the order of an object's names and the formatting by other programs do not matter (to a depth of 127; deeper values
   * are compared as text).
   *
   * @param expected `null`: only if there is no value. (A stored `null` is a value; change it with {@link update}.)
   * @param ttlSec The new expiry; without it the present one is kept.
   * @returns `false` if the value is not `expected`: nothing was changed.
   */
  cas<T>(key: string, expected: T | null, next: T, ttlSec?: number): Promise<boolean>;
  /**
   * Changes a value by a function. No concurrent update is lost: the written value is `change` of exactly the value that it replaces.
   *
   * Concurrent updates of one key by one process are made together, in the order of the calls. If another process changes the value meanwhile, the
   * update is tried again after a random delay, which grows with each attempt (up to 100 ms).
   *
   * @param change Gets the present value, or `null`; returns the next value, or `null` to delete the key. It may be called several times, so it must
   * have no side effects. It is synchronous: a promise is refused.
   * @returns The new value.
   * @throws The error of `change`; then nothing is changed. RedisError of kind `timeout`, delivery `rejected`, when
   * `maxAttempts` are used up; `serialization` for a next value that JSON cannot express.
   */
  update<T>(key: string, change: (current: T | null) => T | null, options?: UpdateOptions): Promise<T | null>;
  /** Deletes `key` and returns its value. Atomic. Needs Redis 6.2. */
  getDel<T = unknown>(key: string): Promise<T | null>;
  /** Sets a value and its expiry, as {@link set}, and returns the previous value. Atomic. Needs Redis 6.2. */
  getSet<T>(key: string, value: T, ttlSec?: number): Promise<T | null>;
  /** Seconds until `key` expires, with fractions; `Infinity` without an expiry; `null` if there is no such key. */
  ttl(key: string): Promise<number | null>;
  /** Sets the expiry of `key`. `false`: there is no such key. */
  expire(key: string, ttlSec: number): Promise<boolean>;
  /** Removes the expiry of `key`. `false`: there is no such key, or it had no expiry. */
  persist(key: string): Promise<boolean>;
  /**
   * The keys of this store's namespace, without it, a batch at a time; `break` stops the scan.
   *
   * As with Redis' own `SCAN`, a key that exists all the time is returned, a key that is created or deleted meanwhile may be returned, and a key may
   * be returned twice. That holds over failovers, restarts and moving slots too: the affected part of the scan starts again. This package's own keys
   * (`~`) and keys that are not UTF-8 are left out.
   *
   * @throws RedisError of kind `server` with `CLUSTERDOWN` when no node serves a part of a cluster for `commandTimeoutMs`.
   */
  scan(options?: ScanOptions): AsyncGenerator<string, void, undefined>;
  /**
   * Deletes every key of this store's namespace, of any type, and its locks, which their holders lose. The keys of other features in the manager's
   * namespace (`~`) stay. The call is not atomic: a key that is set meanwhile may stay. All other keys are deleted, even if a failover comes in
   * between.
   *
   * @returns The number of deleted keys, without locks; an approximate number if a connection was lost meanwhile.
   * @throws RedisError of kind `config` when neither the manager nor the store has a namespace.
   */
  clear(): Promise<number>;
  /**
   * Puts a value in front of a list and trims the list to its `limit` newest values. Atomic.
   *
   * @param limit A whole number from 1.
   * @param ttlSec The list's new expiry; without it the present expiry is kept.
   * @returns The length of the list now.
   */
  lpushRecent<T>(key: string, value: T, limit: number, ttlSec?: number): Promise<number>;
  /** The newest values of a list, newest first; an empty array if there is no such key. `limit` is a whole number from 1. */
  getRecent<T = unknown>(key: string, limit: number): Promise<T[]>;
  /** As {@link get}, counted as a hit or a miss in the manager's metrics. */
  cacheGet<T = unknown>(key: string): Promise<T | null>;
  /** As {@link set}, under a name of its own in the manager's metrics. */
  cacheSet<T>(key: string, value: T, ttlSec?: number): Promise<void>;
  /**
   * The value of `key`, or the result of `load`, which is stored for `ttlSec` plus `staleSec`. Counted as a hit or a miss.
   *
   * One `load` runs at a time: callers of this process share it, other processes wait for its value, each for `waitMs`. The right to load is a lease
   * of 3 s. Rust renews it while `load` runs, up to `loadTimeoutMs`: a slow `load` is not doubled, and when a process dies, another one loads within
   * 3 s. For `staleSec` after `ttlSec` the old value is returned at once, and one caller loads a new value in the background. If that fails, or a
   * loaded value cannot be stored, the manager emits `'error'` (a `RedisError` with the error of `load` as `cause`), and the next caller tries again.
   *
   * A write to the key ends the load in progress: its value goes to the callers that wait for it already, and is not stored. Callers after the write
   * get the written value, or another load. Every method of this class that changes the key is such a write. A `SET` by another program is one too,
   * unless it expires within 3 s. A deletion by another program is not noticed if the key is absent.
   *
   * Each caller gets its own copy of the value, as JSON expresses it (a `Date` is a string). `null` is a value like any other.
   *
   * @throws The error of `load`, to the waiting callers of this process; callers elsewhere load themselves. RedisError of kind `timeout` when another
   * caller loads for longer than `waitMs`, or `load` takes longer than `loadTimeoutMs`; `config` if `load` itself calls `getOrSet` of the same key
   * and so would wait for itself; `serialization` for a value that JSON cannot express.
   */
  getOrSet<T>(key: string, load: () => T | Promise<T>, options: GetOrSetOptions): Promise<T>;
  /**
   * Takes an exclusive lock: a lease with a fencing token, renewed from a Rust thread, so that a blocked event loop does not lose it. The lock is
   * lost when the server cannot be reached for the length of the lease, when this process is stopped for that long, or when the manager is
   * disconnected: then `lock.signal` is aborted. The server uses its own clock. This process uses its monotonic clock and counts from before each
   * renewal was sent, so it never believes in its lease longer than the server does.
   *
   * A lock is not reentrant. Between processes there is no order: the first to ask after a release gets it. A waiting process is woken by a message;
   * without the right to channels it tries again after random delays of up to 200 ms. A held lock does not keep the process alive. Release it with
   * `await using` or `release()` before `disconnect()`; otherwise it runs out.
   *
   * @param key The name of the lock; a value under the same key is independent of it.
   * @throws RedisError of kind `timeout`, delivery `rejected`, if the lock is held for longer than `waitMs`; `cancelled` when `options.signal` was
   * aborted.
   */
  lock(key: string, options?: LockOptions): Promise<Lock>;
}
/** Makes a {@link KVStore} on `base`. */
export declare function makeRedisKV(base: IRedisConnection, namespace?: string): KVStore;

/** Returns the password for one connection. */
type PasswordFunction = () => string | Uint8Array | Promise<string | Uint8Array>;
/** TLS options. Certificates and keys are PEM. */
export interface RedisTlsConfig {
  /**
   * Certificate authorities to trust instead of the public ones; a text may hold several. A server's own certificate may be one.
   * Default: Mozilla's authorities, and the authorities in the file that `NODE_EXTRA_CA_CERTS` names.
   */
  ca?: string | Buffer | (string | Buffer)[] | undefined;
  /** The client's certificate, for mutual TLS; with `key`. */
  cert?: string | Buffer | undefined;
  /** The private key of `cert`: PKCS #8, encrypted or not, PKCS #1 or SEC 1. */
  key?: string | Buffer | undefined;
  /** The passphrase of `key`, if `key` is encrypted. */
  passphrase?: string | Uint8Array | undefined;
  /** The name that the server's certificate must have. Default: the host. */
  servername?: string | undefined;
  /** `false` accepts any certificate, so anybody between this process and the server can read and change everything. Default true. */
  rejectUnauthorized?: boolean | undefined;
}
/** How a lost connection is restored: exponential backoff with full jitter. */
export interface RedisReconnectConfig {
  /** The bound of the first delay, in milliseconds, at least 1. Default 50. */
  minDelayMs?: number | undefined;
  /** The bound of every delay, in milliseconds, at least `minDelayMs`. Default 2 000. */
  maxDelayMs?: number | undefined;
  /** Attempts before the state becomes `failed`. Default: endless. */
  maxAttempts?: number | undefined;
}
/** The configuration of a {@link RedisConnectionManager}. Unknown names are refused. */
export interface RedisConfig {
  /**
   * `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://`, `redis+cluster://` or `memory://name`. Excludes `host`, `port` and `path`; other
   * options win over the URL. An empty part, as a template with an unset variable leaves it, is refused.
   */
  url?: string | URL | undefined;
  /** A name or an address, without the port; an IPv6 address may be in brackets. Default `127.0.0.1`. */
  host?: string | undefined;
  /** Default 6379. */
  port?: number | undefined;
  /** The path of a Unix socket, at most 107 bytes (103 on macOS); excludes `host` and `port`. */
  path?: string | undefined;
  /** The database, from 0. Default 0. */
  db?: number | undefined;
  /** The ACL user; needs `password`. */
  username?: string | undefined;
  /** Bytes are UTF-8. A function is called at every new connection, so a rotated password needs no restart. */
  password?: string | Uint8Array | PasswordFunction | undefined;
  /** The ACL user at the sentinels, with `sentinelPassword`; `username` and `password` are for the Redis servers themselves. */
  sentinelUsername?: string | undefined;
  /** The password at the sentinels. Default: they are asked without credentials. */
  sentinelPassword?: string | Uint8Array | undefined;
  /**
   * Replacements for addresses that a cluster or sentinels announce but this process cannot reach, behind NAT, Docker or a tunnel: `{ '10.0.0.1:7000':
   * 'redis.example:17000' }`. Each name and each value is a host and a port; an IPv6 address is in brackets. The map applies to nodes, masters and
   * sentinels, and to the addresses of the URL too. An address that is not in the map is used as announced. TLS expects the replacement host in the
   * certificate, unless `tls.servername` is given.
   */
  addressMap?: Record<string, string> | undefined;
  /** Default false, or true for `rediss://`. */
  tls?: boolean | RedisTlsConfig | undefined;
  /** `true`: the constructor does no I/O and the first use connects. Default true. */
  lazyConnect?: boolean | undefined;
  /** Milliseconds for one attempt to connect: name lookup, TCP, TLS, password and handshake together. Default 10 000. */
  connectTimeoutMs?: number | undefined;
  /** Further attempts of the first connect. Default 0: the first failure rejects. A connection that was up is restored endlessly; see `reconnect`. */
  connectRetries?: number | undefined;
  /** Milliseconds for a command, from the call to the answer, waiting for a reconnect included. Default 5 000. */
  commandTimeoutMs?: number | undefined;
  /** How a lost connection is restored. */
  reconnect?: RedisReconnectConfig | undefined;
  /** Milliseconds from 10 to 32 767 000, the most that the kernel takes. A dead peer is noticed within twice this time. Default 10 000. */
  keepAliveMs?: number | undefined;
  /** The most commands that may wait. A further command is refused with kind `overloaded`. Default 100 000. */
  maxPendingCommands?: number | undefined;
  /** The most bytes of waiting commands, from 1 024. Default 256 MiB. */
  maxPendingBytes?: number | undefined;
  /**
   * The bound of one reply, in bytes from 65 536 to 1 TiB: its bytes on the wire, and 40 for each element of an array. A longer reply is skipped: its
   * caller's promise rejects with kind `serialization` and delivery `maybe-executed`; other calls get their answers. A reply that takes longer than
   * `commandTimeoutMs` costs the connection. A longer message of a subscription is dropped and counted, and the bus emits `slow`. Default 1 GiB;
   * Redis holds no string longer than 512 MiB in its defaults.
   */
  maxReplyBytes?: number | undefined;
  /** Milliseconds that `disconnect()` waits for answers. Default 5 000. */
  closeTimeoutMs?: number | undefined;
  /** The connection's name in `CLIENT LIST`: printable ASCII without spaces. Default `redis-backplane`. */
  clientName?: string | undefined;
  /** The prefix of every key and topic of everything that is built on this manager; a colon follows it. Default: none. */
  namespace?: string | undefined;
}
/** Environment variables, such as `process.env`. */
type Environment = Record<string, string | undefined>;
/**
 * The configuration from the environment: `REDIS_ENABLED`, `REDIS_URL`, `REDIS_HOST`, `REDIS_PORT`, `REDIS_DB`, `REDIS_USERNAME`,
 * `REDIS_PASSWORD`, `REDIS_TLS`. `REDIS_URL` wins over host and port; user, password and database win over those in the URL.
 * An empty variable counts as not set.
 *
 * Returns `null` (Redis is off) if `REDIS_ENABLED` is false; also if `REDIS_ENABLED`, `REDIS_URL` and `REDIS_HOST` are all not set.
 *
 * A `REDIS_PORT` such as `tcp://10.0.0.1:6379`, which Kubernetes and Docker set for a service named `redis`, is accepted if
 * `REDIS_HOST` is that service: `redis`, `redis.…`, its address, or the value of `REDIS_SERVICE_HOST`.
 *
 * @param env Default `process.env`.
 * @throws RedisError of kind `config` for an invalid value, naming the variable, and for `REDIS_ENABLED=true` without an address.
 */
export declare function redisConfigFromEnv(env?: Environment): RedisConfig | null;
/** A configuration for tests: {@link createTestRedisConfig} without overrides, made once for this process. */
export declare const REDIS_TEST_CONFIG: RedisConfig;
/**
 * A configuration for a test. Each call gives another namespace, so that tests can run side by side. The server is that of `REDIS_TEST_URL`; if this
 * variable is not set, the engine inside this process, `memory://redis-backplane-tests`.
 *
 * @param overrides Options that win over this function's own.
 */
export declare function createTestRedisConfig(overrides?: RedisConfig): RedisConfig;

/** A histogram of durations in milliseconds. */
export interface HistogramSnapshot {
  /** The number of recorded durations. */
  count: number;
  /** The sum of the durations, in milliseconds. */
  sum: number;
  /** The number of durations of at most `le` milliseconds (`null`: no bound). Cumulative: a bucket includes the smaller buckets. */
  buckets: {
    le: number | null;
    count: number;
  }[];
}
/** The metrics of a manager and of everything built on it, since its creation. */
export interface MetricsSnapshot {
  /** `cacheGet` and `getOrSet` calls that found a value. */
  redis_cache_hit_total: number;
  /** `cacheGet` and `getOrSet` calls that found no value. */
  redis_cache_miss_total: number;
  /** Failed attempts to connect, and lost connections. */
  redis_connection_errors_total: number;
  /** Attempts to restore a lost connection. */
  redis_reconnection_attempts_total: number;
  /** Answers of sentinels and cluster nodes about the topology. 0 on a single server. */
  redis_topology_refreshes_total: number;
  /** Changes of masters, slots or replicas of a cluster or under sentinels. 0 on a single server. */
  redis_topology_changes_total: number;
  /** Commands refused because too many commands or bytes were waiting (kind `overloaded`). */
  redis_commands_rejected_total: number;
  /** Commands whose deadline passed. */
  redis_commands_timed_out_total: number;
  /** Commands answered with an error reply. */
  redis_commands_failed_total: number;
  /** Commands that were sent again because it was safe. */
  redis_commands_resent_total: number;
  /** Bytes written to the server. */
  redis_sent_bytes_total: number;
  /** Bytes read from the server. */
  redis_received_bytes_total: number;
  /** Jobs added; jobs that existed already are not counted. */
  redis_queue_jobs_added_total: number;
  /** Jobs that this process' workers claimed. */
  redis_queue_jobs_claimed_total: number;
  /** Jobs that this process' workers completed. */
  redis_queue_jobs_completed_total: number;
  /** Attempts of this process' workers that failed. */
  redis_queue_attempts_failed_total: number;
  /** Jobs of dead workers that this process' workers gave to other workers. */
  redis_queue_jobs_given_away_total: number;
  /** Damaged records and keys of queues that this process' workers found. */
  redis_queue_damaged_total: number;
  /** Jobs whose lease was lost while this process' workers ran them. */
  redis_queue_leases_lost_total: number;
  /** Calls of a `SessionStore` that were answered without Redis (option `whenAway`). */
  redis_session_degraded_total: number;
  /** Writes of a `SessionStore` that were refused because the session had changed, was destroyed, or was lost. */
  redis_session_conflicts_total: number;
  /** Messages that the server accepted, live and durable. */
  redis_bus_published_total: number;
  /** Messages given to handlers and iterators. A message that two handlers got counts twice. */
  redis_bus_delivered_total: number;
  /** Live messages dropped because too many messages or bytes waited, or because the message was longer than `maxReplyBytes`. */
  redis_bus_dropped_total: number;
  /** Messages that are not JSON, and damaged records of consumer groups in Redis. */
  redis_bus_malformed_total: number;
  /** Durable messages that were delivered again after their records in Redis were lost. */
  redis_bus_restored_total: number;
  /** Durable messages that became dead letters with consumers of this process. */
  redis_bus_dead_letters_total: number;
  /** Handlers that threw or rejected. */
  redis_bus_handler_errors_total: number;
  /** Times that a live subscription was interrupted. */
  redis_bus_gaps_total: number;
  /** Topics and patterns that are subscribed, and groups that are consumed. */
  redis_bus_subscriptions: number;
  /**
   * Messages that a consumer group has not acknowledged, by durable topic and group, for the groups that this process consumes. Messages whose
   * handlers run are included. Updated every few seconds. Before Redis 7, and after entries were deleted, at most 1 000 unread messages are counted.
   */
  redis_bus_lag: Record<string, Record<string, number>>;
  /** Open connections. */
  redis_connection_pool_size: number;
  /** Commands accepted and not yet settled. */
  redis_commands_pending: number;
  /** Bytes of commands accepted and not yet settled. */
  redis_pending_bytes: number;
  /** The largest number of callers that shared one attempt to connect. */
  redis_concurrent_initialization_attempts: number;
  /** Workers of this process that are registered. */
  redis_registry_workers: number;
  /** Heartbeats of workers that the server has answered. */
  redis_registry_heartbeats_total: number;
  /** Registrations of this process that another process ended: the worker was declared crashed, forgotten, or registered elsewhere. */
  redis_registry_fenced_total: number;
  /** Damaged records of a registry that this process found (event `malformed`). */
  redis_registry_malformed_total: number;
  /** Times that the event loop was found stalled. */
  redis_registry_event_loop_stalled_total: number;
  /** Checkpoints that were saved. */
  redis_checkpoint_saves_total: number;
  /** Saves of checkpoints that were refused because another writer had saved first (kind `conflict`). */
  redis_checkpoint_conflicts_total: number;
  /** Writes to threads that were refused because another owner holds the thread (kind `lease-lost`). */
  redis_checkpoint_fenced_total: number;
  /** Interrupted threads that this process took over. */
  redis_checkpoint_resumed_total: number;
  /** Bytes of states and metadata of the checkpoints that were saved. */
  redis_checkpoint_bytes_total: number;
  /** The time from a ping to the event loop until its answer, while heartbeats are automatic. */
  redis_registry_event_loop_lag_ms: HistogramSnapshot;
  /** The time from the start of an attempt to connect until the connection was usable or the attempt failed. */
  redis_initialization_duration_ms: HistogramSnapshot;
  /** The time from the call until its answer, by operation: a command's name, or a name such as `kv.get`. */
  redis_operation_duration_ms: Record<string, HistogramSnapshot>;
}

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
  server?:
    | {
        kind: string;
        version: string;
        role: string;
      }
    | undefined;
  /**
   * How much of a cluster is served. `slotsServed` of `slotsTotal`, 16 384: slots with a master that answers and serves keys. `state`: `fail` if a
   * node that answers says that the cluster is down, or if no slot is served.
   */
  cluster?:
    | {
        state: 'ok' | 'fail';
        slotsServed: number;
        slotsTotal: number;
      }
    | undefined;
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
  reconnecting: [
    info: {
      attempt: number;
      delayMs: number;
    },
  ];
  /** An attempt failed or a connection was lost. Without a listener nothing is thrown. */
  error: [error: RedisError];
  /** The manager has closed, or given up. */
  end: [];
}
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
export declare class RedisConnectionManager {
  /**
   * @param config A configuration, or a URL. Default: the local server.
   * @throws RedisError of kind `config`, naming the option, what was expected and what came; `connection` if the operating system refuses the thread
   * or the event queue that the first manager of a process needs.
   */
  constructor(config?: RedisConfig | string | URL);
  /**
   * Connects. Concurrent callers share one attempt. In state `ready` it does nothing; after `failed` or `closed` it starts again.
   *
   * @throws RedisError of kind `connection`, `auth`, `tls` or `timeout`; `closed` if `disconnect()` comes in between.
   */
  connect(): Promise<void>;
  /**
   * Ends all connections. Accepted commands are answered first, for at most `closeTimeoutMs`; later ones reject with kind `closed`. Idempotent and
   * safe in any state; afterwards nothing keeps the process alive. `connect()` opens the manager again.
   */
  disconnect(): Promise<void>;
  /** Is the state `ready`? */
  isConnected(): boolean;
  /** The state now. */
  get state(): ConnectionState;
  /** The time of one round trip in milliseconds. */
  ping(): Promise<number>;
  /**
   * Asks the server, in a cluster every master, for its role and version and whether it accepts writes (by a `SET` that changes nothing). Never
   * rejects; bounded by `commandTimeoutMs`.
   */
  health(): Promise<ConnectionHealth>;
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
  command<T = unknown>(name: string, ...args: CommandArgument[]): Promise<T>;
  /**
   * Executes commands between `MULTI` and `EXEC`: all of them, without commands of others in between, or none.
   *
   * @returns The replies, in order.
   * @throws RedisError of kind `server`: with delivery `rejected` if Redis refused one and executed none; with `maybe-executed` if one failed while
   * the others were executed, since Redis has no rollback.
   */
  transaction<T = unknown[]>(commands: [string, ...CommandArgument[]][]): Promise<T>;
  /**
   * Runs a Lua script on the server by its digest; its text is sent if the server does not know it.
   *
   * @param lua The text.
   * @param keys Every key the script touches (`KEYS`).
   * @param args Its other arguments (`ARGV`).
   */
  script<T = unknown>(lua: string, keys: string[], args?: CommandArgument[]): Promise<T>;
  /** The metrics of this manager and of everything built on it. */
  metrics(): MetricsSnapshot;
  /** The same metrics in Prometheus' text format. */
  prometheus(): string;
  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this;
  /** Adds a listener for the next time only. */
  once<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this;
  /** The same as {@link disconnect}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The events of a {@link TaskQueue}. All but `gap` and `error` are events of the whole fleet: each listening queue object gets each of them. */
export interface TaskQueueEvents<R = unknown> {
  /** A job was added. */
  added: [
    event: {
      jobId: string;
      name: string;
    },
  ];
  /** A worker has started the job. */
  active: [
    event: {
      jobId: string;
    },
  ];
  /** {@link Job.updateProgress} was called. */
  progress: [
    event: {
      jobId: string;
      progress: unknown;
    },
  ];
  /** The job completed. `result` is left out if it is `undefined` or longer than 64 KiB of JSON: then read it with {@link TaskQueue.getJob}. */
  completed: [
    event: {
      jobId: string;
      result?: R;
    },
  ];
  /** The job failed for good. */
  failed: [
    event: {
      jobId: string;
      reason: string;
    },
  ];
  /** An attempt failed, or put its job back with a {@link DelayError}. The next attempt comes in `delayMs` milliseconds. */
  retrying: [
    event: {
      jobId: string;
      reason: string;
      delayMs: number;
      attemptsMade: number;
    },
  ];
  /** The job lost its worker and waits for another one. */
  stalled: [
    event: {
      jobId: string;
    },
  ];
  /** The job was removed. */
  removed: [
    event: {
      jobId: string;
    },
  ];
  /** The last waiting job was taken. */
  drained: [];
  /** Events were missed: this listener lagged behind the events that Redis keeps, or its connection was away. `missed`: how many, if known. */
  gap: [
    event: {
      missed: number | null;
    },
  ];
  /** Redis could not be reached, or an event could not be read. Without a listener nothing is thrown. */
  error: [error: RedisError];
}

/**
 * The state of a job. `waiting`: a worker may take it. `active`: a worker holds it. `delayed`: its time has not come. `completed`, `failed`: it is
 * over. `waiting-children`: some of its children are not over, or the job that it follows (`dedupe` with `replace`) is not.
 */
export type JobState = 'waiting' | 'active' | 'delayed' | 'completed' | 'failed' | 'waiting-children';
/** The delay between a failed attempt and the next one. */
export interface Backoff {
  /** `fixed`: `delayMs` each time. `exponential`: `delayMs` after the first attempt, twice as long after each further one. */
  type: 'fixed' | 'exponential';
  /** Milliseconds, from 0. */
  delayMs: number;
  /** The longest delay, in milliseconds. Default: no bound. */
  maxDelayMs?: number | undefined;
  /** From 0 to 1: the share of the delay that is random. 0.5 gives between half of it and all of it. Default 0. */
  jitter?: number | undefined;
}
/** Which finished jobs are kept. `count`: this many of the newest. `ageMs`: those that finished at most this long ago. */
export interface KeepRule {
  /** The number of jobs, from 0. From 1 000 on, up to a twentieth more (at most 100) may stay until they are removed together. Default: no bound. */
  count?: number | undefined;
  /** Milliseconds, from 0. Default: no bound. */
  ageMs?: number | undefined;
}
/** A child that a job waits for; see {@link JobOptions.children}. */
export interface ChildJob {
  /** The child's queue, in the same namespace. Default: the parent's. */
  queue?: string | undefined;
  /** As in {@link TaskQueue.add}. */
  name: string;
  /** As in {@link TaskQueue.add}. */
  data: unknown;
  /** As in {@link TaskQueue.add}; children may have children. */
  options?: JobOptions | undefined;
}
/** Options of a job. Unknown names are refused; `undefined` counts as not given. */
export interface JobOptions {
  /**
   * 1 to 512 bytes without control characters, unique in the queue. Adding an id that exists, in any state, changes nothing and returns the existing
   * job. Default: a generated id.
   */
  id?: string | undefined;
  /** Milliseconds, from 0, until a worker may take the job. Default 0. */
  delayMs?: number | undefined;
  /** 0 to 2 097 151. Lower priorities are served first, equal ones in order of adding. Default 0. */
  priority?: number | undefined;
  /** `true` puts the job at the head of the queue. Excludes `priority` above 0 and `children`. Default false. */
  lifo?: boolean | undefined;
  /** The most attempts, from 1. An attempt that lost its lease counts in `stalledCount` instead. Default 1. */
  attempts?: number | undefined;
  /** The pause between attempts. Default: none. */
  backoff?: Backoff | undefined;
  /**
   * Milliseconds for one attempt, counted in Rust even while the event loop is blocked. After that `context.signal` is aborted and the
   * attempt has failed. Default: no bound.
   */
  timeoutMs?: number | undefined;
  /**
   * Is a completed job kept? `true`: for ever. `false`: it is removed, and only events have its result. Default: the 1 000 newest completed jobs are
   * kept.
   */
  keepCompleted?: boolean | KeepRule | undefined;
  /** Is a job kept that has failed for good? The values are those of `keepCompleted`. Default: the 10 000 newest failed jobs are kept. */
  keepFailed?: boolean | KeepRule | undefined;
  /**
   * While a job with this dedupe `id` is not over, and for `ttlMs` after it was added, adding another job with the id returns the existing job. If
   * the existing job is over and was not kept, the returned job has the name and data of this call, and no result. Removing the job frees the id.
   *
   * With `replace` the newest data counts. A waiting or delayed job is removed, and the new job is added. A job that is active, or waits for
   * children, goes on. The new job then follows the existing job: it is `waiting-children` until the existing job has completed, failed or been
   * removed. If several new jobs are added meanwhile, only the last follows. If the existing job is over and `ttlMs` has not passed, it is returned
   * even with `replace`.
   */
  dedupe?:
    | {
        id: string;
        ttlMs?: number | undefined;
        replace?: boolean | undefined;
      }
    | undefined;
  /**
   * Groups are served in turn, so that a large group does not hold up a small one. {@link WorkerOptions.groupConcurrency} bounds how many jobs of a
   * group run at once in the fleet.
   */
  group?: string | undefined;
  /**
   * Jobs, in this or other queues, that must complete before this job waits for a worker. They are added with this job, all or none per queue; at
   * most 10 000, nested through at most 16 queues. A child that exists already, by its `id` or `dedupe`, stays as it is. A removed child is no longer
   * waited for. A child that fails also fails this job; a retried parent waits until the failed child is retried and completes. Excludes `delayMs`
   * and `lifo`.
   */
  children?: ChildJob[] | undefined;
  /**
   * The correlation id, 1 to 512 bytes without control characters: the {@link correlation} in its processor, so that messages published and jobs
   * added there get it too. Default: the correlation at the place of the call; a schedule's jobs and `children` do not inherit it.
   */
  corrId?: string | undefined;
}
/**
 * When a schedule ticks. `cron`: five fields, or six with seconds first; `tz`: an IANA zone, default UTC. `everyMs`: milliseconds, counted from the
 * time when the schedule was first made.
 */
export type ScheduleTimes =
  | {
      everyMs: number;
    }
  | {
      cron: string;
      tz?: string | undefined;
    };
/** The job that a {@link TaskQueue.schedule} adds at each tick. */
export interface ScheduledJob<T = unknown> {
  /** As in {@link TaskQueue.add}. */
  name: string;
  /** As in {@link TaskQueue.add}. */
  data: T;
  /** As in {@link TaskQueue.add}, without `id`, `dedupe` and `children`: every tick adds a job of its own. `delayMs` counts from the tick. */
  options?: JobOptions | undefined;
}
/** A schedule and its state. */
export interface Schedule<T = unknown> {
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly id: string;
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly when: ScheduleTimes;
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly job: ScheduledJob<T>;
  /** The next tick, in milliseconds since the epoch, by the server's clock. */
  readonly nextAt: number;
  /** The last tick, in the same unit; `undefined` before the first tick. */
  readonly lastAt?: number | undefined;
  /** The number of ticks so far. */
  readonly ticks: number;
}
/** Options of a {@link TaskQueue}. Unknown names are refused. */
export interface TaskQueueOptions {
  /** A prefix of every key of this queue, inside the manager's namespace; a colon follows each of the two. Default: none. */
  namespace?: string | undefined;
  /** Options of jobs that do not set their own. */
  defaultJobOptions?: JobOptions | undefined;
}
/** Options of {@link TaskQueue.list}. */
export interface ListOptions {
  /** The number of jobs to skip, from 0. Default 0. */
  start?: number | undefined;
  /** The most jobs to return, from 0. Default 100. */
  limit?: number | undefined;
  /** `true` reverses each state's order. Default false. */
  newestFirst?: boolean | undefined;
}
/** Options of {@link Job.waitUntilFinished}. */
export interface WaitOptions {
  /** Milliseconds, from 0. Default 30 000, then kind `timeout`. */
  timeoutMs?: number | undefined;
  /** Ends the wait with kind `cancelled`; the job goes on. */
  signal?: AbortSignal | undefined;
}
/** Options of {@link TaskQueue.addAndWait}. */
export interface AddAndWaitOptions extends WaitOptions {
  /** Options of the job; its own `timeoutMs` bounds an attempt. */
  job?: JobOptions | undefined;
}
/** Options of {@link TaskWorker.close} and {@link TaskQueue.close}. */
export interface CloseOptions {
  /**
   * Milliseconds, from 0, for the running jobs to finish. After that the signals of the other jobs are aborted, and the jobs are handed back to the
   * queue, which takes at most 2 s more. Default 30 000.
   */
  graceMs?: number | undefined;
}
/** The methods of a registry that a worker uses; a {@link WorkerRegistry} has them. */
export interface TaskWorkerRegistry {
  /** Called when the worker starts. */
  register(worker: { type?: string | undefined; capacity?: number | undefined; metadata?: Record<string, unknown> | undefined }): Promise<{
    id: string;
    epoch: number;
  }>;
  /** Called with the new status and the load when the worker's status changes. */
  heartbeat(
    id: string,
    update?: {
      status?: WorkerStatus | undefined;
      load?: number | undefined;
    },
  ): Promise<boolean>;
  /** Sends a load with the next heartbeat. Without this method only changes of the status are sent. */
  report?(
    id: string,
    now: {
      load: number;
    },
  ): void;
  /** Called when the worker has closed. */
  unregister(id: string): Promise<boolean>;
  /**
   * `command`: `pause` and `resume` call {@link TaskWorker.pause} and `resume`; `drain` and `shutdown` close the worker. `fenced`: the
   * registration was lost; `next` is the new one, if any.
   */
  on?(
    event: 'command',
    listener: (
      command: WorkerCommand,
      worker: {
        id: string;
      },
    ) => unknown,
  ): unknown;
  /** `next` is the registration that the registry made in place of the lost one, if it made one. */
  on?(
    event: 'fenced',
    listener: (
      worker: {
        id: string;
      },
      next: {
        id: string;
        epoch: number;
      } | null,
    ) => unknown,
  ): unknown;
  /** Called with the listeners that were given to `on`, when the worker has closed. */
  off?(event: 'command' | 'fenced', listener: never): unknown;
}
/** Options of {@link TaskQueue.process}. Unknown names are refused. */
export interface WorkerOptions {
  /** How many jobs the worker holds at once, from 1 to 10 000. Default 1. */
  concurrency?: number | undefined;
  /**
   * Milliseconds, from 1 000 to 2 147 483 647. Rust renews the leases of running jobs, even while the event loop is blocked. When this process is
   * gone, its jobs go to other workers within this time plus one sweep. Default 30 000.
   */
  leaseMs?: number | undefined;
  /** How often a job may lose its worker before it fails, from 0 to 1 000. Default 1. */
  maxStalls?: number | undefined;
  /** At most `max` jobs are started within `perMs` milliseconds, by all workers of the queue together. Default: no bound. */
  rateLimit?:
    | {
        max: number;
        perMs: number;
      }
    | undefined;
  /** How many jobs of one {@link JobOptions.group} run at once, in the fleet; from 1. Default: no bound. */
  groupConcurrency?: number | undefined;
  /** `false`: the worker starts with {@link TaskWorker.run}. Default true. */
  autorun?: boolean | undefined;
  /**
   * The registry in which the worker registers itself: its type is the queue's name, its capacity is its concurrency. The worker keeps its load
   * (running jobs / concurrency) and status current, and unregisters when it is closed. When a registry on the same manager declares the worker
   * crashed, its jobs go to other workers at once, instead of at the end of its lease. If the registry cannot be reached, the worker goes on, emits
   * `error` and tries again.
   */
  registry?: TaskWorkerRegistry | undefined;
}

/**
 * A job as it was when this object was made or last refreshed. Its methods act on the job in Redis.
 *
 * Every method rejects with kind `config` if the job is gone or in the wrong state; any call may reject with `connection`, `timeout`, `closed` or
 * `overloaded`, whose `delivery` says whether the server may have acted. In a processor `updateData`, `updateProgress` and `log` carry the attempt's
 * lease: after its loss they change nothing and reject with kind `lease-lost`.
 */
export interface Job<T = unknown, R = unknown> {
  /** Unique in the queue. */
  readonly id: string;
  /** What kind of job it is. */
  readonly name: string;
  /** The data that was added, as JSON expresses it. Throws a RedisError of kind `serialization` if the stored text is damaged. */
  readonly data: T;
  /** The options of `add()`, with defaults, without `children`. */
  readonly options: JobOptions;
  /** The state of the job when it was read; `refresh()` reads it again. */
  readonly state: JobState;
  /** Attempts that have ended. Attempts that lost their lease are not counted. */
  readonly attemptsMade: number;
  /** The last value of {@link updateProgress}; `undefined` before. */
  readonly progress: unknown;
  /** The processor's result, when the job has completed. */
  readonly result?: R | undefined;
  /** Why the last attempt failed, or why the job was cancelled. */
  readonly failedReason?: string | undefined;
  /** The stacks of failed attempts, newest last, at most 10. */
  readonly stacktrace: string[];
  /** When the job was added. All times of a job are milliseconds since the epoch, by the server's clock. */
  readonly addedAt: number;
  /** When the last attempt started. */
  readonly startedAt?: number | undefined;
  /** When the job completed or failed for good. */
  readonly finishedAt?: number | undefined;
  /** How often the job lost its worker. */
  readonly stalledCount: number;
  /** Replaces the data. */
  updateData(data: T): Promise<void>;
  /** Stores the progress, any value that JSON can express, and emits `progress` on every listening queue object. The next attempt sees the progress. */
  updateProgress(progress: unknown): Promise<void>;
  /** Adds a line of at most 64 KiB to the job's log, which keeps the newest 1 000 lines. Returns the number of lines in the log. */
  log(line: string): Promise<number>;
  /** The lines of the job's log. */
  logs(): Promise<string[]>;
  /** Reads the job again into this object, and returns this object; `null` if the job is gone. */
  refresh(): Promise<Job<T, R> | null>;
  /** Removes the job, in any state but `active` (kind `config`). `false`: it was gone. */
  remove(): Promise<boolean>;
  /** Retries a failed job with all its attempts: it waits for a worker, or for its children that have not completed. */
  retry(): Promise<void>;
  /** Lets a delayed job wait for a worker at once. */
  promote(): Promise<void>;
  /** Makes a delayed or waiting job due in `ms` milliseconds. */
  changeDelay(ms: number): Promise<void>;
  /** Changes the priority of a waiting or delayed job. */
  changePriority(priority: number): Promise<void>;
  /**
   * Resolves with the result when the job has completed, or at once if it has already. A job that is not kept (`keepCompleted: false`) gives its
   * result only to callers that wait by then, as {@link TaskQueue.addAndWait} does.
   *
   * @throws JobFailedError when the job failed for good. RedisError of kind `timeout`, delivery `rejected`, after `timeoutMs`; `cancelled` when
   * `signal` was aborted; `closed` when the queue is closed; `config` if there is no such job.
   */
  waitUntilFinished(options?: WaitOptions): Promise<R>;
  /**
   * Cancels the job. For an active job, `context.signal` is aborted, in any process: the job still completes if its processor returns, and fails for
   * good with `reason` if the processor throws. A job that is not active fails at once.
   *
   * @param reason Becomes `failedReason`. Default `cancelled`.
   * @returns `false` if the job is already over, or gone.
   */
  cancel(reason?: string): Promise<boolean>;
}

/** The second argument of a {@link Processor}. */
export interface JobContext {
  /**
   * Aborted when Redis has ended the attempt, even if the processor still runs. Its reason is a RedisError of kind `lease-lost`,
   * `timeout` (`timeoutMs` of the job), `cancelled` ({@link Job.cancel}) or `closed` (the worker was closed by force, or the manager
   * disconnected). After `cancelled` the processor's outcome still counts; after the other kinds it is ignored.
   */
  readonly signal: AbortSignal;
  /** The number of this attempt: 1 for the first. */
  readonly attempt: number;
  /** The results of the job's children, by id; children of another queue by `queue:id`. */
  readonly children: () => Promise<Record<string, unknown>>;
}
/**
 * Does a job. Its result (`undefined`, or a value that JSON can express) completes the job; if it throws or rejects, the attempt has failed. It runs
 * in the async context of the {@link TaskQueue.process} call, with the job's `corrId`, if any, as {@link correlation}.
 */
export type Processor<T = unknown, R = unknown> = (job: Job<T, R>, context: JobContext) => R | Promise<R>;

/** The events of a {@link TaskWorker}. They report only what this worker does. */
export interface TaskWorkerEvents<T = unknown, R = unknown> {
  /** A job's processor starts. */
  active: [job: Job<T, R>];
  /** A processor has returned. The queue's event of the same name says that Redis has the result. */
  completed: [job: Job<T, R>, result: R];
  /** A processor has thrown `error`. The queue's events say whether the job is retried (`retrying`, `failed`). */
  failed: [job: Job<T, R>, error: unknown];
  /** No job waits and no job runs. Emitted once per idle period. */
  idle: [];
  /**
   * Redis could not be reached; a job's lease was lost or its outcome refused (kind `lease-lost`); a queue refused a message; or records were damaged
   * (kind `serialization`). Without a listener nothing is thrown; the worker goes on.
   */
  error: [error: RedisError];
  /** The worker takes no more jobs: it was closed, or its manager was disconnected. */
  closed: [];
}

/**
 * Runs a processor on jobs of a queue. Made by {@link TaskQueue.process}.
 *
 * Rust renews leases, claims jobs and sends outcomes: a processor that blocks the event loop loses nothing. A processor that throws, rejects or
 * returns a value that JSON cannot express fails its attempt; it never ends the process. A running worker (from {@link run} until {@link close})
 * keeps the process alive.
 *
 * @example
 * const worker = queue.process(async (job) => send(job.data), { concurrency: 10 });
 * worker.on('failed', (job, error) => console.error(job.id, error));
 * await worker.close();
 */
export declare class TaskWorker<T = unknown, R = unknown> {
  /**
   * Starts to take jobs; does nothing if it is running. Only needed after `autorun: false`.
   *
   * @throws RedisError of kind `closed`.
   */
  run(): void;
  /** Takes no more jobs; resolves when no job runs any more. {@link resume} takes jobs again. Rejects with kind `closed`. */
  pause(): Promise<void>;
  /**
   * Takes jobs again.
   *
   * @throws RedisError of kind `closed`.
   */
  resume(): void;
  /** Does the worker take jobs, if there are any? */
  isRunning(): boolean;
  /**
   * Takes no more jobs and waits for the running jobs, at most `graceMs`. After that the signals of the jobs that still run are aborted, and these
   * jobs go back to the head of the queue at once; the attempt is not counted. Later calls share the first call's outcome, and may shorten its
   * `graceMs`. Do not await `close()` in a processor: the processor would wait for itself.
   *
   * @returns `true` if every running job finished.
   */
  close(options?: CloseOptions): Promise<boolean>;
  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof TaskWorkerEvents<T, R>>(event: E, listener: (...args: TaskWorkerEvents<T, R>[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof TaskWorkerEvents<T, R>>(event: E, listener: (...args: TaskWorkerEvents<T, R>[E]) => unknown): this;
  /** The same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A queue of jobs in Redis: any number of processes add jobs, read them and work on them.
 *
 * A job is done at least once. If its worker dies, the job goes to another one within `leaseMs` plus one sweep, with `stalledCount` one higher, and
 * fails after `maxStalls`. All times are the server's. Every write of a worker carries its lease, so a worker that lost its lease changes nothing.
 *
 * Of every method: a bad argument rejects with kind `config`, naming it, as do data of more than 16 MiB; data that JSON cannot express and damaged
 * stored text reject with `serialization`; any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery` says whether the server
 * may have acted. A queue object without listeners does not keep the process alive; one with listeners to the fleet, or with a running worker, does.
 *
 * @example
 * const queue = new TaskQueue<Mail>('mails', manager);
 * await queue.add('send', { to: 'ann@example.org' }, { attempts: 5 });
 * queue.process(async (job) => send(job.data));
 */
export declare class TaskQueue<T = unknown, R = unknown> {
  /**
   * Opens nothing: one manager serves any number of queues.
   *
   * @param name 1 to 512 bytes without control characters, `{` and `}`.
   * @param connection A manager, or a configuration. With a configuration the queue makes its own manager and closes it.
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(name: string, connection: IRedisConnection | RedisConfig, options?: TaskQueueOptions);
  /** Its name. */
  get name(): string;
  /**
   * Adds a job. Calls made at once go to the server together.
   *
   * @param name The kind of job, for the processor: 1 to 512 bytes.
   * @param data Anything that JSON can express, at most 16 MiB of it.
   * @returns The job; the existing job, unchanged, if the id or the dedupe id exists.
   * @throws RedisError of kind `config` for contradictory options, such as `lifo` with `priority`.
   */
  add(name: string, data: T, options?: JobOptions): Promise<Job<T, R>>;
  /**
   * Adds a job and waits until the job has finished. The call never misses the end, even of a job that is not kept (`keepCompleted: false`). If the
   * id or the dedupe id exists, the call waits for the existing job.
   *
   * @returns The result; `undefined` also for a job that was already over and not kept.
   * @throws JobFailedError when the job failed for good. RedisError as {@link add}, and of kind `timeout` after `timeoutMs`, 30 000 by default, or
   * `cancelled` when `signal` was aborted: an added job goes on; delivery `rejected` says that the job was added.
   */
  addAndWait(name: string, data: T, options?: AddAndWaitOptions): Promise<R>;
  /**
   * Adds any number of jobs, in order, in atomic steps of 1 000. If a step fails, other steps may have succeeded: give the jobs ids, and a second
   * call adds only the missing ones.
   */
  addBulk(
    jobs: {
      name: string;
      data: T;
      options?: JobOptions | undefined;
    }[],
  ): Promise<Job<T, R>[]>;
  /** The job with this id, or `null`. */
  getJob(id: string): Promise<Job<T, R> | null>;
  /**
   * Jobs of one or more states, one state after another: waiting jobs in the order of service, delayed jobs by their due time, others by the time
   * they entered the state. A job that changes its state meanwhile may be missing or come twice.
   */
  list(state: JobState | JobState[], options?: ListOptions): Promise<Job<T, R>[]>;
  /** How many jobs are in each state, at one moment. */
  counts(): Promise<Record<JobState, number>>;
  /** From now on no worker, in any process, takes a job; running jobs go on. */
  pause(): Promise<void>;
  /** Ends {@link pause}. */
  resume(): Promise<void>;
  /** Is the queue paused? */
  isPaused(): Promise<boolean>;
  /** Removes every waiting job, with `delayed` also the delayed ones. Returns how many. */
  drain(options?: { delayed?: boolean | undefined }): Promise<number>;
  /**
   * Removes finished jobs, oldest first. Returns how many.
   *
   * @param options `olderThanMs`: only jobs that finished at least this many milliseconds ago, default 0. `limit`: the most jobs to remove, default
   * all.
   */
  clean(
    state: 'completed' | 'failed',
    options?: {
      olderThanMs?: number | undefined;
      limit?: number | undefined;
    },
  ): Promise<number>;
  /**
   * Retries failed jobs with all their attempts, oldest first; at most `limit`, default all. A parent waits for its children that have not completed.
   * Returns how many.
   */
  retryFailed(options?: { limit?: number | undefined }): Promise<number>;
  /**
   * Removes the queue from Redis: its jobs, schedules, settings and events. Parents in other queues no longer wait for its jobs. If it rejects, call
   * it again.
   *
   * @param options `force`: also while jobs are active; their attempts then lose their leases. Without `force` active jobs are an error of kind
   * `config`. Default false.
   */
  obliterate(options?: { force?: boolean | undefined }): Promise<void>;
  /**
   * Adds a job at each tick, exactly once among all processes, while any worker of the queue runs. One tick makes up for all missed ticks. A schedule
   * with the same id is replaced; an unchanged schedule keeps its next tick.
   *
   * @param id 1 to 495 bytes without control characters.
   * @param when `everyMs`: from 1, counted from the first call. `cron`: `minute hour day month weekday`, with seconds in front if there are six
   * fields, or a name such as `@daily`; in the zone `tz`, default UTC. When summer time skips a tick of a line with named hours, the line ticks right
   * after the gap; when summer time repeats the hour, the line ticks once. A line with every hour goes on as an interval. The id of a tick's job is
   * the schedule's id, a colon, and the tick in milliseconds.
   * @throws RedisError of kind `config`: a bad cron line with the position of the error, an unknown zone.
   */
  schedule(id: string, when: ScheduleTimes, job: ScheduledJob<T>): Promise<void>;
  /** All schedules, by their next tick. */
  schedules(): Promise<Schedule<T>[]>;
  /** Ends a schedule; its jobs stay. `false`: there was none. */
  unschedule(id: string): Promise<boolean>;
  /**
   * Makes a worker, which runs `processor` on the queue's jobs.
   *
   * @throws RedisError of kind `config`, naming the option; `closed`.
   */
  process(processor: Processor<T, R>, options?: WorkerOptions): TaskWorker<T, R>;
  /**
   * Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. The first listener of a fleet event
   * makes the queue listen: after {@link ready} no event is missed.
   */
  on<E extends keyof TaskQueueEvents<R>>(event: E, listener: (...args: TaskQueueEvents<R>[E]) => unknown): this;
  /** Removes a listener. Without listeners of fleet events the queue stops listening. */
  off<E extends keyof TaskQueueEvents<R>>(event: E, listener: (...args: TaskQueueEvents<R>[E]) => unknown): this;
  /** Resolves when the listeners added so far miss no event from then on. */
  ready(): Promise<void>;
  /**
   * Closes its workers (see {@link TaskWorker.close}); until then running processors may use the queue. Then stops listening, ends waits with kind
   * `closed`, and disconnects the manager if it is the queue's own. Later calls share the first call's outcome, and may shorten its `graceMs`. The
   * data in Redis stay.
   */
  close(options?: CloseOptions): Promise<void>;
  /** The same as {@link close}. */
  cleanup(): Promise<void>;
  /** The same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A session as a {@link SessionBackend} keeps it. It is plain JSON. */
export interface StoredSession {
  /** The id of the session. */
  readonly id: string;
  /** The version in Redis on which this session is based; 0: the session was created without Redis. */
  readonly version: number;
  /** The data of the session. */
  readonly data: object;
  /** When the session was created, in milliseconds since 1970; by the server's clock if `version` is above 0. */
  readonly createdAt: number;
  /** When the session ends, in milliseconds since 1970, by the clock of this process. */
  readonly expiresAt: number;
  /** The user that it was created for. */
  readonly user?: string | undefined;
}
/**
 * Keeps sessions while Redis is away: in memory ({@link memorySessions}), or in a database of your own, which several processes can share. Each method
 * may return a promise, which must settle within `timeoutMs`.
 */
export interface SessionBackend {
  /** The session with this id; `null` or `undefined` if there is none. */
  load(id: string): StoredSession | null | undefined | Promise<StoredSession | null | undefined>;
  /** Keeps a session. An earlier session with the same id is replaced. */
  save(session: StoredSession): void | Promise<void>;
  /** Deletes a session. Returns `true` if there was one. */
  destroy(id: string): boolean | Promise<boolean>;
  /** All sessions. A session may be destroyed during the iteration. */
  entries(): AsyncIterable<StoredSession> | Iterable<StoredSession>;
}
/** Options of {@link memorySessions}. Unknown names are refused. */
export interface MemorySessionsOptions {
  /** The most sessions that are kept. Beyond this number the session that was saved longest ago is dropped. A whole number from 1. Default 10 000. */
  max?: number | undefined;
}
/**
 * A {@link SessionBackend} in the memory of this process. Other processes do not see its sessions.
 *
 * @throws RedisError of kind `config`, naming the option.
 */
export declare function memorySessions(options?: MemorySessionsOptions): SessionBackend;

/** A session as it was when it was loaded or written. */
export interface Session<T extends object = Record<string, unknown>> {
  /** The id of the session, as in a cookie. */
  readonly id: string;
  /** Starts at 1 and grows by one with each save. For a session of the fallback: the version in Redis on which it is based; 0 if there was none. */
  readonly version: number;
  /** The data of the session. */
  readonly data: T;
  /** When the session was created, in milliseconds since 1970, by the server's clock. */
  readonly createdAt: number;
  /** When the session ends unless it is loaded, saved or touched, in milliseconds since 1970, by the server's clock. */
  readonly expiresAt: number;
  /** Where the session was read or written: in Redis, or in the fallback of `whenAway`. */
  readonly from: 'redis' | 'fallback';
}
/** A session without its data. */
export interface SessionInfo {
  /** The id of the session, as in a cookie. */
  readonly id: string;
  /** Grows by one with each save, from 1. */
  readonly version: number;
  /** When the session was created, in milliseconds since 1970, by the server's clock. */
  readonly createdAt: number;
  /** When the session ends unless it is used, in milliseconds since 1970, by the server's clock. */
  readonly expiresAt: number;
}
/**
 * Why a write was refused. `changed`: another writer has saved the session since it was loaded. `destroyed`: the session was destroyed. `gone`: the
 * session has expired, or Redis lost it. `exists`: there is already a session with the id that was to be created.
 */
export type SessionConflict = 'changed' | 'destroyed' | 'gone' | 'exists';
/**
 * The error of a write that came too late; kind `conflict`. Nothing was changed.
 *
 * @example
 * try {
 *   await sessions.save(session, { ...session.data, cart });
 * } catch (error) {
 *   if (error instanceof SessionConflictError && error.reason === 'changed') return retry();
 *   throw error;
 * }
 */
export declare class SessionConflictError extends RedisError {
  /** The id of the session. */
  readonly sessionId: string;
  /** Why the write was refused. */
  readonly reason: SessionConflict;
  constructor(method: string, sessionId: string, reason: SessionConflict);
  /** True for an error of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}

/**
 * How a store answers while Redis is away.
 *
 * - `'fail'`: calls reject once `commandTimeoutMs` has passed, as for every other class.
 * - `'none'`: there are no sessions. `load` and `update` return `null`, `touch`, `destroy` and `append` return `false` or 0, `recent` and `ofUser`
 * return
 *   an empty array; `create` and `save` return a session that is kept nowhere. Destroyed sessions are destroyed in Redis when Redis is back.
 * - A fallback: sessions are read from the fallback and written to it.
 */
export type WhenAway =
  | 'fail'
  | 'none'
  | {
      fallback: SessionBackend;
      /** Milliseconds without a usable connection after which calls are answered without Redis. A whole number from 0. Default 200. */
      afterMs?: number | undefined;
      /**
       * What happens to the sessions of the fallback when Redis is back. `newest`: each session is saved to Redis, unless the session in Redis has
       * changed meanwhile: then the session in Redis stays, and `conflict` is emitted. `discard`: the sessions are dropped, and `restored` reports
       * their number.
       */
      onReturn: 'discard' | 'newest';
      /** How long a method of the fallback may take, in milliseconds. A whole number from 1. Default 5 000. */
      timeoutMs?: number | undefined;
    };
/** Options of a {@link SessionStore}. Unknown names are refused. */
export interface SessionStoreOptions {
  /** A prefix of every key of this store, inside the manager's namespace, as for a `KVStore`. Default: none. */
  namespace?: string | undefined;
  /** Seconds that a session lasts after it was loaded, saved or touched; fractions allowed, from 0.001 to 315 360 000. Default 86 400, a day. */
  ttlSec?: number | undefined;
  /** Seconds after its creation at which a session ends even if it is used. The range is that of `ttlSec`. Default: none. */
  absoluteTtlSec?: number | undefined;
  /**
   * How often reading a session extends it, in seconds, so that not every read must write. If a quarter of `ttlSec` is shorter, that quarter counts.
   * From 0 to 315 360 000. Default 60.
   */
  touchEverySec?: number | undefined;
  /** The most bytes of a session's data, and of a message, as JSON; larger values are refused before sending. 1 to 67 108 864. Default 262 144. */
  maxBytes?: number | undefined;
  /** How the store answers while Redis is away. Default `'fail'`. */
  whenAway?: WhenAway | undefined;
}
/** Options of {@link SessionStore.create}. Unknown names are refused. */
export interface CreateSessionOptions {
  /** The id: 1 to 512 bytes. Default: a new id, with 122 random bits. */
  id?: string | undefined;
  /** The user of the session, for {@link SessionStore.ofUser}: 1 to 512 bytes. Default: none. */
  user?: string | undefined;
  /** Seconds that this session lasts after it was loaded, saved or touched. Default: the store's. */
  ttlSec?: number | undefined;
}
/** The events of a {@link SessionStore}, with the arguments of their listeners. */
export interface SessionStoreEvents {
  /** Redis is away, and a call was answered without Redis. Emitted once until `restored`. */
  degraded: [error: RedisError];
  /**
   * Redis is back. The numbers of the fallback's sessions that were saved to Redis, refused as conflicts, and dropped; and the number of sessions that
   * were destroyed in Redis.
   */
  restored: [
    summary: {
      saved: number;
      conflicts: number;
      discarded: number;
      destroyed: number;
    },
  ];
  /** A write whose caller no longer waits was refused. The session in Redis stays as it is. */
  conflict: [
    conflict: {
      id: string;
      reason: SessionConflict;
    },
  ];
  /** The fallback failed, or a session of the fallback could not be saved to Redis. */
  error: [error: RedisError];
}

/** The store of sessions. */

type Data = Record<string, unknown>;
/**
 * Sessions by id, such as the state of a user or a dialogue, stored as JSON with a version. A save that comes too late is refused and changes nothing,
 * and no write brings a destroyed session back.
 *
 * Of every method:
 *
 * - An id or a user is a string of 1 to 512 bytes. Sessions expire by the server's clock.
 * - A call whose answer was lost is sent again until `commandTimeoutMs` has passed, and takes effect once.
 * - A bad argument rejects with kind `config`, naming it; data that JSON cannot express with `serialization`, before anything is sent; and any call
 *   with `connection`, `timeout`, `closed` or `overloaded`, unless `whenAway` says otherwise.
 *
 * @example
 * const sessions = new SessionStore<{ cart: string[] }>(manager, { ttlSec: 3_600 });
 * const session = await sessions.create({ cart: [] }, { user: 'ann' });
 * await sessions.save(session, { cart: ['book'] });
 */
export declare class SessionStore<T extends object = Data> {
  /**
   * Opens nothing: one manager serves any number of stores, and they need no closing.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: SessionStoreOptions);
  /**
   * Creates a session.
   *
   * @throws SessionConflictError with `exists` if there is a session with `options.id`, and with `destroyed` if such a session was destroyed not long
   * ago.
   */
  create(data: T, options?: CreateSessionOptions): Promise<Session<T>>;
  /**
   * The session with this id, or `null` if there is none: the session was never created, has expired, was destroyed, or Redis lost it.
   *
   * @param options `touch`: `true`: the read extends the session, at most once in `touchEverySec`. Default true.
   */
  load(
    id: string,
    options?: {
      touch?: boolean | undefined;
    },
  ): Promise<Session<T> | null>;
  /**
   * Replaces the data of a session, and extends it.
   *
   * @param session The session as it was loaded, or as the last save returned it. Its version is compared with the version in Redis.
   * @throws SessionConflictError with the reason `changed`, `destroyed` or `gone`. Then nothing was changed.
   */
  save(session: Session<T>, data: T): Promise<Session<T>>;
  /**
   * Changes the data of a session by a function; no concurrent update is lost.
   *
   * @param change Gets the present data; returns the next data, or `null` to destroy the session. It may be called several times and must have no side
   * effects. It is synchronous: a promise is refused.
   * @returns The session, or `null` if there is none, or if it was destroyed.
   * @throws The error of `change`; RedisError of kind `timeout`, delivery `rejected`, when other writers were faster ten times.
   */
  update(id: string, change: (data: T) => T | null): Promise<Session<T> | null>;
  /**
   * Extends a session, up to its absolute end.
   *
   * @param ttlSec Seconds that the session lasts from now on, and after each later use. Default: as before.
   * @returns `false` if there is no such session.
   */
  touch(id: string, ttlSec?: number): Promise<boolean>;
  /** Destroys a session with its messages. A later save is refused. `false`: there was no such session. */
  destroy(id: string): Promise<boolean>;
  /**
   * Gives a session a new id, and destroys the old id, so that an attacker who knows the old id gains nothing after a login. Data, messages, user and
   * absolute end stay. `null`: there is no such session.
   */
  regenerate(id: string): Promise<Session<T> | null>;
  /**
   * Puts a message in front of a session's messages, drops all but the newest `limit` messages, and extends the session, at most once in
   * `touchEverySec`. The data and their version stay.
   *
   * @param options `limit`: a whole number from 1 to 10 000. Default 100.
   * @returns The number of messages now; 0 if there is no session, and the message was not kept.
   */
  append<M>(
    id: string,
    message: M,
    options?: {
      limit?: number | undefined;
    },
  ): Promise<number>;
  /** The newest messages, newest first; an empty array if there is no session. `limit` is a whole number from 1 to 10 000. */
  recent<M = unknown>(id: string, limit: number): Promise<M[]>;
  /** The sessions that were created with this user, in no particular order. The cost grows with the number of the user's sessions. */
  ofUser(user: string): Promise<SessionInfo[]>;
  /**
   * Destroys the sessions of a user, including sessions that are being created meanwhile. While Redis is away the call rejects, whatever `whenAway`
   * is, because only Redis knows all sessions of the user.
   *
   * @param options `except`: the id of a session that stays.
   * @returns The number of destroyed sessions.
   */
  destroyOfUser(
    user: string,
    options?: {
      except?: string | undefined;
    },
  ): Promise<number>;
  /** Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. */
  on<E extends keyof SessionStoreEvents>(event: E, listener: (...args: SessionStoreEvents[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof SessionStoreEvents>(event: E, listener: (...args: SessionStoreEvents[E]) => unknown): this;
}

/** The names of the members of `T` that do not return `this`. */
type MembersOf<T> = Exclude<keyof T, 'on' | 'off' | 'once'>;
/** Adding and removing listeners; each method returns the object itself. */
interface Emitting<E extends Record<keyof E, unknown[]>> {
  /** As of the class. */
  on<K extends keyof E>(event: K, listener: (...args: E[K]) => unknown): this;
  /** As of the class. */
  off<K extends keyof E>(event: K, listener: (...args: E[K]) => unknown): this;
}
/** The members of a {@link RedisConnectionManager}. */
export interface IRedisConnection extends Pick<RedisConnectionManager, MembersOf<RedisConnectionManager>>, Emitting<ConnectionEvents> {
  /** As of the class. */
  once<K extends keyof ConnectionEvents>(event: K, listener: (...args: ConnectionEvents[K]) => unknown): this;
}
/** The members of a {@link MessageBus}. */
export interface IMessageBus extends Pick<MessageBus, MembersOf<MessageBus>> {
  /** As of the class. */
  on<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this;
  /** As of the class. */
  off<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this;
}
/** The members of a {@link KVStore}. */
export interface IKVStore extends Pick<KVStore, keyof KVStore> {}
/** The members of a {@link SessionStore}. */
export interface ISessionStore<T extends object = Record<string, unknown>>
  extends Pick<SessionStore<T>, MembersOf<SessionStore<T>>>,
    Emitting<SessionStoreEvents> {}
/** The members of a {@link CheckpointStore}. */
export interface ICheckpointStore extends Pick<CheckpointStore, keyof CheckpointStore> {}
/** The members of a {@link TaskQueue}. */
export interface ITaskQueue<T = unknown, R = unknown>
  extends Pick<TaskQueue<T, R>, MembersOf<TaskQueue<T, R>>>,
    Emitting<TaskQueueEvents<R>> {}
/** The members of a {@link WorkerRegistry}. */
export interface IWorkerRegistry extends Pick<WorkerRegistry, MembersOf<WorkerRegistry>>, Emitting<RegistryEvents> {
  /** As of the class. */
  once<K extends keyof RegistryEvents>(event: K, listener: (...args: RegistryEvents[K]) => unknown): this;
}

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
  set(
    key: string,
    value: string | number,
    options?: {
      PX?: number | undefined;
      EX?: number | undefined;
    },
  ): Promise<string | null>;
  /** Deletes keys, and returns the number of deleted keys. Without keys it does nothing and returns 0. */
  del(...keys: string[]): Promise<number>;
  /** Members of a sorted set by rank, both ends included; with `WITHSCORES` each member is followed by its score. */
  zrange(
    key: string,
    start: number,
    end: number,
    options?: {
      WITHSCORES?: boolean | undefined;
    },
  ): Promise<string[]>;
  /** As {@link zrange}, from the highest score down. */
  zrevrange(
    key: string,
    start: number,
    end: number,
    options?: {
      WITHSCORES?: boolean | undefined;
    },
  ): Promise<string[]>;
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
    options?: {
      MAXLEN?: number | undefined;
      approximate?: boolean | undefined;
    },
  ): Promise<string>;
  /**
   * Reads entries of streams. Returns `[stream, [id, [field, value, …]][]][]`, or `null` if there are no entries.
   *
   * @param options `BLOCK` in milliseconds; 0 waits for ever.
   */
  xread(
    streams: {
      key: string;
      id: string;
    }[],
    options?: {
      BLOCK?: number | undefined;
      COUNT?: number | undefined;
    },
  ): Promise<BullMQStreams | null>;
  /** Trims a stream. Returns the number of deleted entries. */
  xtrim(
    key: string,
    strategy: 'MAXLEN',
    threshold: number,
    options?: {
      approximate?: boolean | undefined;
    },
  ): Promise<number>;
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
  scan(
    cursor: string | number,
    options: {
      MATCH?: string | undefined;
      COUNT?: number | undefined;
    },
  ): Promise<[string, string[]]>;
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
  hscan(
    key: string,
    cursor: string | number,
    options?: {
      COUNT?: number | undefined;
    },
  ): this;
  /** The members of a set. */
  smembers(key: string): this;
  /** One page of a set: the next cursor, and members. */
  sscan(
    key: string,
    cursor: string | number,
    options?: {
      COUNT?: number | undefined;
    },
  ): this;
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

/** TLS as `node:tls` takes it; certificates and keys are PEM. */
export interface BullMQTlsOptions {
  /** Certificate authorities in PEM. */
  ca?: string;
  /** The client's certificate in PEM. */
  cert?: string;
  /** The private key of `cert` in PEM. */
  key?: string;
  /** The name that the server's certificate must have. */
  servername?: string;
  /** `false` accepts any certificate. */
  rejectUnauthorized?: boolean;
}
/** The manager's configuration as options of ioredis. Options that are not set are absent. */
export interface BullMQOptions {
  /** The host of the server. */
  host?: string;
  /** The port of the server. */
  port?: number;
  /** The path of a Unix socket, in place of `host` and `port`. */
  path?: string;
  /** The number of the database. */
  db?: number;
  /** The ACL user. */
  username?: string;
  /** The present password. A password that is rotated later does not reach ioredis. */
  password?: string;
  /** Present if the connection uses TLS. */
  tls?: BullMQTlsOptions;
  /** The sentinels, with `name`, in place of `host` and `port`. */
  sentinels?: {
    host: string;
    port: number;
  }[];
  /** The sentinels' name of the master. */
  name?: string;
  /** The `addressMap` of the manager, in the form of ioredis. */
  natMap?: Record<
    string,
    {
      host: string;
      port: number;
    }
  >;
  /** The ACL user at the sentinels. */
  sentinelUsername?: string;
  /** The password at the sentinels. */
  sentinelPassword?: string;
  /** Present if connections to sentinels use TLS. */
  sentinelTLS?: BullMQTlsOptions;
  /** Whether connections to sentinels use TLS. */
  enableTLSForSentinelMode?: boolean;
  /** The time limit of an attempt to connect, in milliseconds. */
  connectTimeout?: number;
  /** The delay of TCP keepalive, in milliseconds. */
  keepAlive?: number;
  /** `null`: commands wait for a connection without a bound, as BullMQ's workers demand. */
  maxRetriesPerRequest: null;
}

/**
 * A client for BullMQ on the connections of `manager`: `new Queue('paint', { connection: bullmqConnection(manager) })`. For BullMQ
 * 5.77 and later, and 6; neither `ioredis` nor `redis` need be installed for 6.
 *
 * One client serves any number of queues, workers and other objects. Commands that do not block use the manager's one connection. Each `Worker` and
 * each `QueueEvents` makes a duplicate with its own connection for its blocking reads; `close()` of a worker closes that connection. Disconnect the
 * manager yourself, after all objects of BullMQ are closed.
 *
 * The manager's `namespace` is not put before BullMQ's keys: BullMQ has its own option `prefix`. In a cluster give it a hash tag,
 * such as `prefix: '{paint}'`.
 *
 * A call that fails because a connection is lost rejects with a `RedisError` with the message `Connection is closed.`, which tells BullMQ that it may
 * try again. `cause` says what happened, `delivery` whether the server may have executed the call.
 *
 * @throws RedisError of kind `config` for an object that is not a manager.
 */
export declare function bullmqConnection(manager: IRedisConnection): BullMQClient;
/**
 * Options with which BullMQ, from version 4 on, makes connections of its own to the server of `manager` through ioredis:
 * `new Queue('paint', { connection: bullmqOptions(manager) })`.
 *
 * The options contain the password in the clear, since ioredis needs it: this is the only call that returns a secret. They do not contain the
 * manager's namespace, deadlines and limits. `maxRetriesPerRequest` is `null`, as BullMQ's workers demand.
 *
 * @throws RedisError of kind `config` if the options cannot express the manager's configuration: `memory://`, a cluster, a password function (ioredis
 * would call it once instead of at every connection). {@link bullmqConnection} works with all of these.
 */
export declare function bullmqOptions(manager: IRedisConnection): BullMQOptions;

/**
 * The error of a responder, thrown by `request()`. It has the kind `server`, and the name, message and code of the responder's error.
 *
 * @example
 * try {
 *   await bus.request('price', { sku: 'book' });
 * } catch (error) {
 *   if (error instanceof ResponderError) console.log(error.name, error.message);
 * }
 */
export declare class ResponderError extends RedisError {
  /** The name of the responder's error: `TypeError`, `OrderNotFound`, … */
  readonly remoteName: string;
  /** The `code` of the responder's error, if it had one. */
  readonly remoteCode?: string | undefined;
  constructor(message: string, remoteName: string, remoteCode?: string);
  /** True for an error of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}

/**
 * What a service names. A part that is left out stays untyped.
 *
 * @example
 * interface Shop {
 *   topics: { 'order.created': { id: number } };
 *   requests: { price: { payload: { sku: string }; reply: number } };
 *   queues: { mails: { welcome: { data: { to: string }; result: string } } };
 * }
 * const redis = await createContainer<Shop>({ url: 'redis://localhost' });
 * await redis.getBus().publish('order.created', { id: 7 });
 * await redis.getQueue('mails').add('welcome', { to: 'ann@example.org' });
 */
export interface ServiceTypes {
  /** The payload of each topic. */
  topics?: object;
  /** The payload of each request and of its reply, as `{ payload; reply }` by topic. */
  requests?: object;
  /** The jobs of each queue: by the name of a job its `{ data; result }`. */
  queues?: object;
}
/** The names of the members of `T`. */
type NameOf<T> = keyof T & string;
/** The payload of a request. */
type PayloadOf<R> = R extends {
  payload: infer P;
}
  ? P
  : unknown;
/** The payload of its reply. */
type ReplyOf<R> = R extends {
  reply: infer P;
}
  ? P
  : unknown;
/** The data of a job. */
type DataOf<J> = J extends {
  data: infer D;
}
  ? D
  : unknown;
/** The result of a job. */
type ResultOf<J> = J extends {
  result: infer R;
}
  ? R
  : unknown;
/** The methods of a bus that take the names of topics with payloads. */
export interface TopicsOf<T extends object> {
  /** As of {@link MessageBus}, for the topics that are named. */
  publish<K extends NameOf<T>>(topic: K, message: Envelope<T[K]> | T[K], options?: PublishOptions): Promise<number>;
  /** As of {@link MessageBus}, for the topics that are named. */
  subscribe<K extends NameOf<T>>(
    topic: K,
    handler: (message: Envelope<T[K]>, context: MessageContext) => unknown,
    options?: SubscribeOptions,
  ): Promise<Unsubscribe>;
  /** As of {@link MessageBus}, for the topics that are named. */
  messages<K extends NameOf<T>>(topic: K, options?: MessagesOptions): AsyncIterable<Envelope<T[K]>>;
}
/** The methods of a bus that take the names of requests. */
export interface RequestsOf<R extends object> {
  /** As of {@link MessageBus}, for the requests that are named. */
  request<K extends NameOf<R>>(topic: K, payload: PayloadOf<R[K]>, options?: RequestOptions): Promise<ReplyOf<R[K]>>;
  /** As of {@link MessageBus}, for the requests that are named. */
  respond<K extends NameOf<R>>(
    topic: K,
    handler: (payload: PayloadOf<R[K]>, envelope: Envelope<PayloadOf<R[K]>>) => ReplyOf<R[K]> | Promise<ReplyOf<R[K]>>,
  ): Promise<Unsubscribe>;
}
/** A bus that knows the topics and requests of a service. */
export type TypedBus<S extends ServiceTypes> = Omit<IMessageBus, 'publish' | 'subscribe' | 'messages' | 'request' | 'respond'> &
  (S extends {
    topics: infer T extends object;
  }
    ? TopicsOf<T>
    : Pick<IMessageBus, 'publish' | 'subscribe' | 'messages'>) &
  (S extends {
    requests: infer R extends object;
  }
    ? RequestsOf<R>
    : Pick<IMessageBus, 'request' | 'respond'>);
/** A job of a queue whose jobs `J` are known: its name says what its data is. */
export type NamedJob<J extends object> = {
  [K in NameOf<J>]: Job<DataOf<J[K]>, ResultOf<J[K]>> & {
    readonly name: K;
  };
}[NameOf<J>];
/** A job to add to a queue whose jobs `J` are known. */
export type NamedJobToAdd<J extends object> = {
  [K in NameOf<J>]: {
    name: K;
    data: DataOf<J[K]>;
    options?: JobOptions | undefined;
  };
}[NameOf<J>];
/** The data of any job of `J`. */
type AnyData<J extends object> = DataOf<J[NameOf<J>]>;
/** The result of any job of `J`. */
type AnyResult<J extends object> = ResultOf<J[NameOf<J>]>;
/** The methods of a queue that take the names of jobs. */
export interface JobsOf<J extends object> {
  /** As of {@link TaskQueue}, for the jobs that are named. */
  add<K extends NameOf<J>>(name: K, data: DataOf<J[K]>, options?: JobOptions): Promise<Job<DataOf<J[K]>, ResultOf<J[K]>>>;
  /** As of {@link TaskQueue}, for the jobs that are named. */
  addBulk(jobs: NamedJobToAdd<J>[]): Promise<Job<AnyData<J>, AnyResult<J>>[]>;
  /** As of {@link TaskQueue}. The name of the job says what its data is: `if (job.name === 'welcome') …`. */
  process(
    processor: (job: NamedJob<J>, context: JobContext) => AnyResult<J> | Promise<AnyResult<J>>,
    options?: WorkerOptions,
  ): TaskWorker<AnyData<J>, AnyResult<J>>;
}
/** A queue that knows its jobs. */
export type TypedQueue<J extends object> = Omit<ITaskQueue<AnyData<J>, AnyResult<J>>, 'add' | 'addBulk' | 'process'> & JobsOf<J>;
/** A {@link Container} that knows the names of a service. */
export interface TypedContainer<S extends ServiceTypes> extends Omit<Container, 'getBus' | 'getQueue'> {
  /** The message bus, the same object each time. */
  getBus(): TypedBus<S>;
  /** The queue with this name, the same object each time. */
  getQueue: S extends {
    queues: infer Q extends object;
  }
    ? <K extends NameOf<Q>>(name: K) => Q[K] extends object ? TypedQueue<Q[K]> : never
    : Container['getQueue'];
}

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
export declare function createContainer(options?: ContainerOptions | string | URL): Promise<Container>;
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
export declare function createContainer<S extends ServiceTypes>(options?: ContainerOptions | string | URL): Promise<TypedContainer<S>>;

/** Options of {@link once}. */
export interface OnceOptions {
  /** How long `fn` may take, in milliseconds from 1 to 2 147 483 647. Default 600 000, which is ten minutes. */
  timeoutMs?: number | undefined;
}
/**
 * Runs `fn` unless a caller runs it now or has run it less than `ttlSec` ago. Of any number of concurrent callers, in any number of processes,
 * exactly one runs `fn`; the other callers get `null` at once.
 *
 * The key holds an opaque token from the start of `fn` until `ttlSec` after its success. While `fn` runs, a Rust thread renews the token, so an `fn`
 * that takes longer than `ttlSec`, or blocks the event loop, is not run twice. If `fn` fails, the key is free again. If its process dies, the key is
 * free after at most `ttlSec` (or a second, if that is longer): `fn` may have done its work or not. The result is not stored.
 *
 * If `fn` takes longer than `timeoutMs`, the caller gets kind `timeout`, the result of `fn` is dropped, and the key is free after at most `ttlSec`
 * (or a second). A call of `once` with the same key within `fn` returns `null`, as for other callers.
 *
 * @param key A key of the store, as for {@link KVStore.get}.
 * @param ttlSec Seconds, fractions allowed, above 0.
 * @returns The result of `fn`, or `null` if this caller did not run `fn`. If the server is away when `fn` succeeds, the call still succeeds: the key
 * is free `ttlSec` after the last renewal.
 * @throws The error of `fn`. RedisError of kind `config`, `connection`, `timeout`, … if the key could not be taken: `fn` did not run; `timeout`,
 * delivery `maybe-executed`, if `fn` took too long.
 */
export declare function once<T>(
  kv: IKVStore,
  key: string,
  fn: () => Promise<T> | T,
  ttlSec: number,
  options?: OnceOptions,
): Promise<T | null>;
/**
 * Says whether an event is seen for the first time, and remembers it for `ttlSec`. Atomic: of any number of concurrent callers exactly one
 * gets `true`. The key is `seen:${eventId}`, in the store's namespace; a `~` at the start of the id or after a colon is written `%7E`.
 *
 * If a process dies after it has seen an event, no other process handles that event. Use {@link once} if another process must.
 *
 * @param eventId Not empty, at most 1 MiB.
 * @param ttlSec Seconds, fractions allowed, above 0.
 * @throws RedisError of kind `config`, `connection`, `timeout`, …
 */
export declare function deduplicateEvent(kv: IKVStore, eventId: string, ttlSec: number): Promise<boolean>;

/**
 * Control of the engine behind `memory://name`. Every call is synchronous: when it returns, its effect is visible. Every call throws a `RedisError` of
 * kind `closed` when nothing is connected to an engine of that name.
 */
export interface MemoryControl {
  /** Lets `ms` milliseconds pass, on the engine's clock: keys expire and waits time out before this returns. */
  advance(ms: number): void;
  /**
   * Sets the engine's clock forward or, below 0, back by `ms` milliseconds, up to 2 147 483 647, as an administrator or a time service sets a
   * server's clock. No real time passes, but everything that reads the clock sees the step.
   */
  setClock(ms: number): void;
  /** Stops the engine from reading and executing anything, as a frozen server would. */
  pause(): void;
  /** Lets a paused engine go on with the commands sent meanwhile. */
  resume(): void;
  /** Executes the next `n` commands, loses their replies and cuts their connections. */
  dropReplies(n: number): void;
  /** Cuts every connection. The data are kept for a minute, until a client reconnects. */
  killClients(): void;
  /** Delays every reply by `ms` milliseconds of real time; 0 ends it. */
  latency(ms: number): void;
  /** Refuses writes with `READONLY`, as a replica after a failover does. */
  readonly(on: boolean): void;
  /** Deletes every key of every database. */
  flush(): void;
  /** Bounds the estimated memory in bytes; beyond it writes get Redis' `OOM` error. 0 removes the bound. */
  maxMemory(bytes: number): void;
  /** Every key, ordered by database and name; `ttl` in milliseconds. */
  dump(): MemoryEntry[];
}
/** A key of an embedded engine. */
export interface MemoryEntry {
  /** The number of the database. */
  db: number;
  /** The whole key, with every namespace. */
  key: string;
  /** Redis' name of the type: `string`, `hash`, `list`, … */
  type: string;
  /** Milliseconds until it expires; `null` if it does not. */
  ttl: number | null;
  /** The value: text, an object of the fields of a hash, an array of the elements of others. */
  value: unknown;
}
/** Control of the engine behind `memory://name`, for tests. */
export declare function memoryControl(name: string): MemoryControl;

/**
 * A processor throws this error to fail the job at once, even if attempts are left.
 *
 * @example
 * queue.process(async ({ data }) => {
 *   if (!data.to) throw new UnrecoverableError('no address');
 * });
 */
export declare class UnrecoverableError extends Error {
  constructor(
    message?: string,
    options?: {
      cause?: unknown;
    },
  );
  /** True for an error of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}
/**
 * A processor throws this error to delay the job for `delayMs` milliseconds without using up an attempt.
 *
 * @example
 * queue.process(async () => {
 *   if (await isBusy()) throw new DelayError(30_000);
 * });
 */
export declare class DelayError extends Error {
  /** Milliseconds. */
  readonly delayMs: number;
  /**
   * @param delayMs A whole number of milliseconds, from 0 to 3 155 760 000 000 (100 years).
   * @throws RedisError of kind `config`.
   */
  constructor(delayMs: number);
  /** True for an error of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}
/**
 * The error of {@link Job.waitUntilFinished} when the job failed for good. Its message is the job's `failedReason`.
 *
 * @example
 * const job = await queue.add('send', mail);
 * try {
 *   await job.waitUntilFinished({ timeoutMs: 60_000 });
 * } catch (error) {
 *   if (error instanceof JobFailedError) console.log(error.message);
 * }
 */
export declare class JobFailedError extends Error {
  /** The job's id. */
  readonly jobId: string;
  constructor(jobId: string, failedReason: string);
  /** True for an error of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}

/** Options of {@link retry}. */
export interface RetryOptions {
  /** The most attempts, the first included: a whole number from 1. Default 3. */
  maxAttempts?: number | undefined;
  /** The delay before the second attempt, in milliseconds, from 0. Default 100. */
  minDelayMs?: number | undefined;
  /** The longest delay, in milliseconds, from `minDelayMs`. Default 10 000. */
  maxDelayMs?: number | undefined;
  /** The factor by which each delay is longer than the previous delay, from 1 to 100. Default 2. */
  factor?: number | undefined;
  /** `true`: each delay is random between `minDelayMs` and its computed value, so that many callers spread out. Default true. */
  jitter?: boolean | undefined;
  /** Is `fn` retried after this error? Default: not after a `RedisError` whose `retryable` is false. */
  shouldRetry?: ((error: unknown) => boolean) | undefined;
  /** Ends the wait between attempts, with kind `cancelled`. A running attempt is not interrupted. */
  signal?: AbortSignal | undefined;
}
/**
 * Calls `fn` until it succeeds, `maxAttempts` times at most, with exponential backoff and jitter in between.
 *
 * An attempt may have had an effect before it failed: a `RedisError` whose `delivery` is `maybe-executed` is retried too. So make `fn` safe to repeat,
 * or return false from `shouldRetry`.
 *
 * @param fn Gets the number of the attempt, from 1.
 * @returns The result of `fn`.
 * @throws The error of the last attempt, unchanged. RedisError of kind `cancelled` when `signal` was aborted before or between attempts; `config` for
 * a bad option.
 */
export declare function retry<T>(fn: (attempt: number) => Promise<T> | T, options?: RetryOptions): Promise<T>;

/** Options of {@link shutdownOnSignals}. */
export interface ShutdownSignals {
  /** Default `SIGTERM` and `SIGINT`. */
  signals?: NodeJS.Signals[] | undefined;
  /** Gets the error of `shutdown()`; the process ends in any case. Default: a process warning. */
  onError?: ((error: unknown) => unknown) | undefined;
}
/**
 * Calls `container.shutdown()` at the first of the signals, and then ends the process by that signal, as its sender expects. A second signal
 * meanwhile ends the process at once. If the signal does not end the process, as with the first process of a container image, the process exits with
 * 128 plus the signal's number.
 *
 * @param container Anything with a `shutdown()`.
 * @returns A function that removes the handlers.
 * @throws RedisError of kind `config`, naming the option; then no handler is installed.
 */
export declare function shutdownOnSignals(
  container: {
    shutdown(): Promise<unknown>;
  },
  options?: ShutdownSignals,
): () => void;

/** The result of {@link makeRedisSuite}. All three names are the same manager, which opens the connections that each purpose needs. */
export interface RedisSuite {
  /** For commands. */
  base: RedisConnectionManager;
  /** For publishing. */
  pub: RedisConnectionManager;
  /** For subscribing. */
  sub: RedisConnectionManager;
  /** Disconnects the manager. Idempotent. */
  disconnect(): Promise<void>;
  /** The same as {@link disconnect}. */
  [Symbol.asyncDispose](): Promise<void>;
}
/**
 * Makes a manager, connects it and pings the server. The one manager serves all purposes, with the separate connections that Redis demands.
 *
 * @throws RedisError The errors of `connect()` and `ping()`; then nothing stays open.
 */
export declare function makeRedisSuite(url: string | URL | RedisConfig): Promise<RedisSuite>;

export {};
