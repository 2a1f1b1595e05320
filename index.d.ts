/// <reference types="node" />
import { Readable } from 'node:stream';

/** Envelopes: what a message is in, and what it has in common with the messages that led to it. */
/** A message with what is known of it. */
export interface Envelope<T = unknown> {
  /** Unique, and the same at each attempt: 1 to 512 characters. */
  id: string;
  /** What kind of message it is: at most 1 024 characters. */
  type: string;
  /** When it was made: ISO 8601, UTC. */
  ts: string;
  /** The same for all messages that one thing has led to: 1 to 512 characters. */
  corrId: string;
  /** At most 512 characters. */
  tenantId?: string | undefined;
  payload: T;
  /** How often it was tried before, from 0. */
  attempts: number;
  /** Why the last attempt failed: at most 1 024 characters arrive. */
  lastError?: string | undefined;
  /** The W3C trace context it belongs to. */
  traceparent?: string | undefined;
}
/**
 * A new envelope. In a handler of a bus what is not given is that of the message in hand, its trace context too.
 *
 * @param type What kind of message it is: 1 to 1 024 characters.
 * @param corrId 1 to 512 characters. Default: that of the message in hand, else the id of the new envelope.
 * @param tenantId 1 to 512 characters. Default: that of the message in hand, else none.
 * @throws RedisError of kind `config`.
 */
export declare function createEnvelope<T>(type: string, payload: T, corrId?: string, tenantId?: string): Envelope<T>;
/**
 * The envelope of the next attempt: the same id and corrId, `attempts` one higher, and why the last one failed, in at most 1 024
 * characters.
 *
 * @throws RedisError of kind `config` if `envelope` is none.
 */
export declare function retryEnvelope<T>(envelope: Envelope<T>, error: unknown): Envelope<T>;
/** Is it an envelope, whoever made it? */
export declare function isEnvelope(value: unknown): value is Envelope;

/** What messages and jobs inherit from the message or job in hand, and which message that is: an AsyncLocalStorage context. */
/** What belongs together. */
export interface Correlation {
  /** 1 to 512 characters. */
  readonly corrId: string;
  /** At most 512 characters. */
  readonly tenantId?: string | undefined;
  /** The W3C trace context. */
  readonly traceparent?: string | undefined;
}
/** The correlation that messages published and jobs added here and now get: that of the message or job in hand, or of {@link withCorrelation}. */
export declare function correlation(): Correlation | undefined;
/**
 * Runs `run`; messages that it publishes, however late, get this correlation, jobs that it adds its `corrId`. For where messages begin: an HTTP request, a timer.
 *
 * @throws RedisError of kind `config`; what `run` throws.
 */
export declare function withCorrelation<T>(given: Correlation, run: () => T): T;

/** What a caller may say to a bus, and its checks. */

/** Options of a {@link MessageBus}. Unknown names are refused. */
export interface MessageBusOptions {
  /** A prefix of every topic of this bus, inside the manager's namespace; a colon follows each of the two. Default: none. */
  namespace?: string | undefined;
  /** The manager whose connections subscribe and consume. Default: the one that publishes. */
  subscriber?: IRedisConnection | undefined;
  /**
   * `true`: live topics are sharded channels (`SPUBLISH`), which in a cluster stay on the node of their slot instead of going to all.
   * Needs Redis 7; publishers and subscribers must agree on it; there are no patterns. Default false.
   */
  sharded?: boolean | undefined;
  /**
   * How long messages of durable topics are kept after every group has acknowledged them: the newest `maxLength` (from 0 to 1 000 000 000 000,
   * default 100 000), of those the newest `maxBytes` (of keys and messages, from 0 to 1 000 000 000 000 000, default 1 GiB), for `maxAgeMs`
   * (from 0, default a day). What a group has not acknowledged is never trimmed. The publisher's setting counts, roughly.
   */
  retention?:
    | {
        maxLength?: number | undefined;
        maxBytes?: number | undefined;
        maxAgeMs?: number | undefined;
      }
    | undefined;
  /** Live messages that may wait, per subscription, from 1. Default 100 000. */
  maxPending?: number | undefined;
  /** Their bytes, from 1; one message may be larger. Default 64 MiB. */
  maxPendingBytes?: number | undefined;
  /** Milliseconds that the end of a subscription waits for handlers that run. Default 5 000. */
  closeTimeoutMs?: number | undefined;
}
/** Options of {@link MessageBus.publish}. */
export interface PublishOptions {
  /** Durable messages of one key are handled strictly in order; live handlers are told it. At most 1 024 characters. */
  key?: string | undefined;
  /** `true`: appends to the topic's stream too, in one step with the live publication. Default false. */
  durable?: boolean | undefined;
  /**
   * Durable: a message of this id is appended to the topic, and sent to its live subscribers, once within `dedupeMs`, so that a publication
   * of which nobody knows whether it was executed can be repeated. 1 to 512 characters; of a bare value also the id of its envelope.
   * Default, where `dedupeMs` is given: the id of the envelope.
   */
  id?: string | undefined;
  /** Durable: for how many milliseconds the id counts once, from 1. Default, where `id` is given: 120 000. */
  dedupeMs?: number | undefined;
  /** The W3C trace context that the message belongs to. Default: that of the message in hand, or of the envelope. */
  traceparent?: string | undefined;
}
/** Options of {@link MessageBus.subscribe}. */
export interface SubscribeOptions {
  /** Messages of this subscription in hand at once, from 1. Default: live as many as may wait (`maxPending`), durable 1. */
  concurrency?: number | undefined;
  /** Live: messages that may wait, from 1; past it the oldest is dropped, counted, and `slow` is emitted. Default: the bus'. */
  maxPending?: number | undefined;
  /** Live: their bytes, from 1; one message may be larger. Default: the bus'. */
  maxPendingBytes?: number | undefined;
  /** Durable: a consumer group of the topic's stream, at-least-once. */
  group?: string | undefined;
  /** Durable: where a new group begins: `new`, `start`, an id of the stream or an ISO time. Default `new`. */
  from?: 'new' | 'start' | (string & {}) | undefined;
  /**
   * Durable: attempts before a message becomes a dead letter (default 5), and the bounds of the wait after the first failure, which
   * doubles with each one (default 1 000 and 60 000). The wait is random below that.
   */
  retry?:
    | {
        maxAttempts?: number | undefined;
        minDelayMs?: number | undefined;
        maxDelayMs?: number | undefined;
      }
    | undefined;
  /**
   * Durable: milliseconds, from 100, after which the messages of a consumer that gives no sign of life are taken over. A blocked event
   * loop is not the end of it: the signs are given from Rust. Default 30 000.
   */
  claimAfterMs?: number | undefined;
  /** Durable: milliseconds that a handler may run; then its signal is aborted, and the attempt has failed. Default 600 000. */
  timeoutMs?: number | undefined;
  /** Ends the subscription; before it is confirmed the call rejects with kind `cancelled`. */
  signal?: AbortSignal | undefined;
}
/** Options of {@link MessageBus.messages}. */
export interface MessagesOptions {
  /** Messages that may wait, from 1; past it the oldest is dropped, counted, and `slow` is emitted. Default: the bus'. */
  maxPending?: number | undefined;
  /** Their bytes, from 1; one message may be larger. Default: the bus'. */
  maxPendingBytes?: number | undefined;
  /** Ends the iteration. */
  signal?: AbortSignal | undefined;
}
/** Options of {@link MessageBus.request}. */
export interface RequestOptions {
  /** Milliseconds until it rejects with kind `timeout`. Default 5 000. */
  timeoutMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. */
  signal?: AbortSignal | undefined;
}
/** What a handler is told beside the message. */
export interface MessageContext {
  /** Where it was published. */
  readonly topic: string;
  /** The key it was published with; of another program's that is no UTF-8, with replacement characters. */
  readonly key?: string | undefined;
  /** The pattern it was subscribed by. */
  readonly pattern?: string | undefined;
  /** Durable: the consumer group. */
  readonly group?: string | undefined;
  /** Durable: its id in the stream. */
  readonly streamId?: string | undefined;
  /** Which attempt this is, from 1. */
  readonly attempt: number;
  /** Aborted when the subscription ends, or a durable message is no longer this consumer's. */
  readonly signal: AbortSignal;
}
/**
 * Ends a subscription. No handler of it begins from the call on. Resolves when those that run have ended, or `closeTimeoutMs` has passed, and the
 * server has confirmed, where it was the last one of this bus to its topic. With the server away, or the bus or the manager closed, there is
 * nothing to confirm. Idempotent.
 *
 * @throws RedisError of kind `timeout` if a server that is connected does not confirm within `commandTimeoutMs`; nothing is heard all the same.
 */
export type Unsubscribe = (() => Promise<void>) & {
  [Symbol.asyncDispose](): Promise<void>;
};

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
  serverCode?: string | undefined;
  /** Default false. */
  retryable?: boolean | undefined;
  /** Default `not-sent`. */
  delivery?: RedisErrorDelivery | undefined;
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
  readonly serverCode?: string | undefined;
  /** May the same call succeed if it is made again? Whether that is safe is what `delivery` says. */
  readonly retryable: boolean;
  /** Did the server possibly act on it? */
  readonly delivery: RedisErrorDelivery;
  constructor(kind: RedisErrorKind, message: string, fields?: RedisErrorFields);
  /** True for an error of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}

/** The events of a bus. */
/** The events of a {@link MessageBus}, with what their listeners are given. */
export interface BusEvents {
  /**
   * A handler threw or rejected, or did not end in time; or the server refused what a consumer asked, or had lost records of its group.
   * Without a listener nothing is thrown.
   */
  error: {
    topic: string;
    /** The message it had. */
    envelopeId?: string;
    corrId?: string;
    pattern?: string;
    /** Of a durable subscription. */
    group?: string;
    error: unknown;
  };
  /** A message that is not JSON, which no handler has got; or an entry among dead letters that is none, which `redrive` passed over. */
  malformed: {
    topic: string;
    pattern?: string;
    group?: string;
    streamId?: string;
    /** Its id among the dead letters of the group. */
    letterId?: string;
    /** How long it is. */
    bytes: number;
  };
  /**
   * A message became a dead letter with a consumer of this bus. Not told where the connection was lost just then:
   * {@link DeadLetters.count} knows.
   */
  'dead-letter': {
    topic: string;
    group: string;
    /** Its id among the dead letters of the group. */
    letterId: string;
    /** Its id in the topic's stream. */
    streamId: string;
    /** How often it was tried. */
    attempts: number;
    /** Why the last attempt failed. */
    lastError: string;
  };
  /** A live subscription is confirmed again after an interruption: messages may have been missed. */
  gap: {
    topic: string;
    pattern?: string /** For how long, in milliseconds. */;
    durationMs: number;
  };
  /** Live messages were dropped: the oldest that waited, since more came than were handled, or one longer than `maxReplyBytes`. */
  slow: {
    topic: string;
    pattern?: string /** How many, since this was told last. */;
    dropped: number;
  };
}

/** Dead letters: messages of which a group has given up the hope. */

/** A message that failed as often as it may, or that no handler could be given. */
export interface DeadLetter<T = unknown> {
  /** Its id among the dead letters. */
  readonly id: string;
  /** Its id in the topic's stream; empty where the entry is damaged. */
  readonly streamId: string;
  /** When it became one, in milliseconds of the server's time since 1970. */
  readonly failedAt: number;
  /** How often it was tried. */
  readonly attempts: number;
  /** Why the last attempt failed; `not JSON` if there was none. */
  readonly lastError: string;
  readonly key?: string | undefined;
  /** The message; `undefined` where it is not JSON. */
  readonly envelope?: Envelope<T> | undefined;
  /** `true` of an entry that is no dead letter, whoever wrote it: `redrive` passes over it, `purge` deletes it. */
  readonly damaged?: true | undefined;
}
/** Options of {@link DeadLetters.list}. */
export interface DeadLetterListOptions {
  /** The `id` after which to begin. Default: the first of all. */
  after?: string | undefined;
  /** The most to give, from 1 to 10 000. Default 100. */
  limit?: number | undefined;
}
/** Options of {@link DeadLetters.redrive}. */
export interface RedriveOptions {
  /** The most to put back, the oldest first, from 1. Default: all that there are now. */
  limit?: number | undefined;
}
/** The dead letters of one consumer group of a topic. They stay until they are redriven or purged. */
export interface DeadLetters {
  /** How many there are. */
  count(): Promise<number>;
  /** The oldest first, also entries that are none. */
  list<T = unknown>(options?: DeadLetterListOptions): Promise<DeadLetter<T>[]>;
  /**
   * Gives dead letters to the group again, and to no other group, behind what is in the topic now. They have all attempts again; `attempts`
   * of the envelope goes on counting. An entry that is no dead letter stays where it is, and `malformed` is emitted with its `letterId`.
   *
   * @param which Their ids, or how many; default all.
   * @returns How many were put back.
   */
  redrive(which?: readonly string[] | RedriveOptions): Promise<number>;
  /**
   * Deletes dead letters.
   *
   * @param ids Default: all.
   * @returns How many were deleted.
   */
  purge(ids?: readonly string[]): Promise<number>;
}

/** The consumer groups of a topic. */

/** A consumer group of a durable topic. */
export interface TopicGroup {
  readonly name: string;
  /** How many messages of the topic it has not acknowledged; where the server does not count what was not read, of those at most 1 000. */
  readonly lag: number;
  /** How many of those were read: they are with consumers, due again later, or wait behind others of their key. */
  readonly pending: number;
  /** How many consumers of this package are alive. */
  readonly consumers: number;
  /** When a consumer was last active, in milliseconds of the server's time since 1970; now where one is alive. */
  readonly lastActiveAt?: number | undefined;
}

/** The message bus: live messages, durable ones, requests and their replies. */

/**
 * Publish and subscribe on one manager. Topics are Redis channels: `<namespace>:<topic>`, so other programs can take part.
 *
 * Live messages are heard by who is subscribed; durable ones (`durable: true`) are kept in a stream besides, for consumer groups.
 * A handler that throws, rejects or never ends affects nobody else.
 */
export declare class MessageBus {
  /**
   * Opens nothing: the first use connects.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: MessageBusOptions);
  /**
   * Resolves when the manager is connected and all that is subscribed is confirmed, again after an interruption.
   *
   * @throws RedisError what `connect()` rejects with; `timeout`; `closed`.
   */
  ready(): Promise<void>;
  /**
   * Publishes a message.
   *
   * @param topic 1 to 1 024 bytes of UTF-8 without control characters, with no `~` at its begin or after a colon.
   * @param message An {@link Envelope}, or a value that is wrapped in a new one, whose type is the topic.
   * @returns How many live subscriptions of all processes the server gave it to; in a cluster those of one node. 0 where its `id` was
   * published before.
   * @throws RedisError of kind `config` for a bad topic, option or payload; what a command rejects with.
   */
  publish<T>(topic: string, message: Envelope<T> | T, options?: PublishOptions): Promise<number>;
  /**
   * Has `handler` given the messages of a topic: live ones, or with `group` the durable ones as one of its consumers. Resolves when the
   * server has confirmed: what is published after that, by anyone, arrives.
   *
   * A live handler is started in order of arrival, and for the next message before it has ended, unless `concurrency` says otherwise. It
   * runs in the AsyncLocalStorage contexts of this call.
   *
   * @throws RedisError of kind `config`; `timeout` if it is not confirmed within `commandTimeoutMs`; `cancelled`; `closed`.
   */
  subscribe<T>(
    topic: string,
    handler: (message: Envelope<T>, context: MessageContext) => unknown,
    options?: SubscribeOptions,
  ): Promise<Unsubscribe>;
  /**
   * As {@link subscribe}, for the live messages of all topics that match a glob pattern (`*`, `?`, `[a-z]`, `\` before what is meant
   * literally).
   */
  psubscribe<T>(
    pattern: string,
    handler: (message: Envelope<T>, context: MessageContext) => unknown,
    options?: Omit<SubscribeOptions, 'group' | 'from' | 'retry' | 'claimAfterMs' | 'timeoutMs'>,
  ): Promise<Unsubscribe>;
  /**
   * The live messages of a topic, to be iterated over. Each iteration is a subscription of its own: it begins with the iteration and ends
   * with it, with `signal`, with `close()`. What waits between two steps is bounded, as for a handler.
   *
   * @throws RedisError of kind `config`; the iteration throws what `subscribe()` rejects with.
   */
  messages<T>(topic: string, options?: MessagesOptions): AsyncIterable<Envelope<T>>;
  /**
   * Publishes a request and gives the payload of the first reply.
   *
   * @throws RedisError of kind `connection` at once if nobody is subscribed to the topic, and when the connection is lost before the reply;
   * `timeout`; `cancelled`. {@link ResponderError} with the responder's error.
   */
  request<Q, R>(topic: string, payload: Q, options?: RequestOptions): Promise<R>;
  /**
   * Replies to the requests on a topic with what `handler` gives, or with its error. Every responder of a topic gets every request.
   *
   * @throws RedisError as {@link subscribe}.
   */
  respond<Q, R>(topic: string, handler: (payload: Q, envelope: Envelope<Q>) => R | Promise<R>): Promise<Unsubscribe>;
  /** The dead letters of a consumer group. */
  deadLetters(topic: string, group: string): DeadLetters;
  /**
   * The consumer groups of a topic: how far each has come and who consumes it, also those of other processes, and those that nobody consumes
   * any more.
   *
   * @throws RedisError of kind `config`; what a command rejects with.
   */
  groups(topic: string): Promise<TopicGroup[]>;
  /**
   * Removes a consumer group that nobody consumes any more, with its dead letters: it holds back the trimming of its topic no longer.
   *
   * @returns Whether there was one.
   * @throws RedisError of kind `config` while a consumer of the group is alive; what a command rejects with.
   */
  removeGroup(topic: string, group: string): Promise<boolean>;
  /** Adds a listener. One that throws or rejects is reported as a process warning; it affects nobody else. */
  on<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this;
  /**
   * Ends every subscription, and waits for the handlers that run, and then for the server to confirm, for at most `closeTimeoutMs` each.
   * Requests that wait reject with kind
   * `closed`, and so does what is called from now on. Idempotent. The manager stays as it is.
   */
  close(): Promise<void>;
  /** The same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
}
/**
 * A bus that publishes on `pub` and subscribes on `sub`. One manager serves both: it has the connections each purpose needs.
 *
 * @param sub Default: `pub`.
 */
export declare function makeRedisBus(
  pub: IRedisConnection,
  sub?: IRedisConnection,
  options?: Omit<MessageBusOptions, 'subscriber'>,
): MessageBus;

/** Locks with fencing tokens: who holds one, and how it is lost. */

/** Options of {@link KVStore.lock}. */
export interface LockOptions {
  /**
   * Milliseconds, from 100 to 2 147 483 647: how long others are kept out after this process is gone. While it lives the lease is
   * renewed every third of it. Default 30 000.
   */
  leaseMs?: number | undefined;
  /**
   * Milliseconds to wait for a lock that another one holds, or for a server that does not answer (but at least 250), from 0. Default 0:
   * try once, for `commandTimeoutMs`. Those who wait in one process have it in the order in which they came.
   */
  waitMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. It does not touch a lock that is held. */
  signal?: AbortSignal | undefined;
}
/** A lock that is held. */
export interface Lock {
  /** The key it was taken by. */
  readonly key: string;
  /**
   * The fencing token: whoever takes the lock later has a larger one, also after a lease that ran out and after `FLUSHALL` (as long as
   * the server's clock does not go back). Give it along with writes to other systems, and have them refuse a smaller one than the
   * largest they saw: a holder that was stopped for longer than its lease can do no harm then.
   */
  readonly token: number;
  /**
   * Aborted when the lock is lost: its lease ran out unconfirmed, another one holds it, or the manager was disconnected. Its reason
   * is a `RedisError` of kind `lease-lost`. It is not aborted by {@link release}.
   */
  readonly signal: AbortSignal;
  /**
   * Renews the lease now, and from now on for `leaseMs` each time.
   *
   * @param leaseMs Milliseconds, from 100. Default: what the lock was taken with.
   * @throws RedisError of kind `lease-lost` if it is not held any more; `connection`, `timeout`, … if the server could not be asked
   * (the lock is held on until its lease runs out).
   */
  extend(leaseMs?: number): Promise<void>;
  /**
   * Gives the lock back.
   *
   * @returns `false` if it was not held any more.
   * @throws RedisError of kind `connection`, `timeout`, … if the server could not be asked; it is renewed no more and runs out.
   */
  release(): Promise<boolean>;
  /** The same as {@link release}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * `KVStore.update`: read, change, compare-and-set, again when somebody else was faster.
 *
 * Updates of one key that this process makes at the same time become one: their changes are applied one after another to the value
 * that was read, and what comes of them is written at once. They never compete with each other, only with other processes.
 */

/** Options of {@link KVStore.update}. */
export interface UpdateOptions {
  /** Seconds until the new value expires; fractions allowed, above 0. Default: the present expiry is kept. */
  ttlSec?: number | undefined;
  /** Attempts before it gives up because others keep changing the value: a whole number from 1. Default 10. */
  maxAttempts?: number | undefined;
}

/** The KV store: values by key. */

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
  /** A glob pattern as Redis has them (`*`, `?`, `[a-z]`, `\` before what is meant literally), of keys without the namespace. Default: every key. */
  match?: string | undefined;
}
/** Options of {@link KVStore.getOrSet}. */
export interface GetOrSetOptions {
  /** Seconds for which a loaded value is fresh; fractions allowed, above 0. */
  ttlSec: number;
  /** Seconds after that for which it is still given, while a new one is loaded in the background; from 0. Default 0. */
  staleSec?: number | undefined;
  /**
   * Milliseconds to wait for a value that another caller loads, in this process or another, or for a server that does not answer (but at least
   * 250, at most `commandTimeoutMs` for each answer), from 0. Default 30 000, then kind `timeout`. 0: nobody else's load is waited for.
   */
  waitMs?: number | undefined;
  /**
   * Milliseconds that `load` may take, from 1. Then its callers get kind `timeout`, what it still gives is dropped, and others may load.
   * Default: `waitMs`, which is how long others are ready to wait for it, but at least 3 000.
   */
  loadTimeoutMs?: number | undefined;
}
/**
 * Values by key, as JSON: what `JSON.stringify` makes of a value is what is stored and what other programs see; the key is the
 * manager's namespace, the store's and `key`, one after another (without a namespace, `foo` is key `foo`).
 *
 * Of every method:
 *
 * - A key is a string of 1 byte to 1 MiB. `~` at its begin or after a colon is refused: such keys are this package's own.
 * - `undefined`, a function, a symbol, a BigInt, `NaN`, an infinity and an object that contains itself are refused with kind
 *   `serialization` before anything is sent. Inside of an object or an array JSON's own rules hold: `undefined` and functions are left
 *   out (`null` in an array), `NaN` and infinities become `null`.
 * - Stored text that is not JSON comes back as the string it is. Stored bytes that are not UTF-8 are refused with kind `serialization`:
 *   see {@link getBuffer}.
 * - `ttlSec` is in seconds, fractions allowed (exact to 1 ms, at least 1 ms), above 0 and up to 9 007 199 254 740.
 * - A bad argument rejects with kind `config`, naming it; a key that holds another type with kind `server`, `serverCode` `WRONGTYPE`;
 *   and any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery` says whether the server may have acted.
 */
export declare class KVStore {
  /**
   * Opens nothing: any number of stores may be on one manager, and need no closing.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: KVStoreOptions);
  /** The value of `key`, or `null` if there is none. */
  get<T = unknown>(key: string): Promise<T | null>;
  /** Sets a value and its expiry; without `ttlSec` it has none, whatever it had before. */
  set<T>(key: string, value: T, ttlSec?: number): Promise<void>;
  /** Sets a value if there is none. Atomic. `false`: there was one, and nothing was changed. */
  setIfAbsent<T>(key: string, value: T, ttlSec?: number): Promise<boolean>;
  /** The bytes of `key` as they are stored, or `null` if there is none. */
  getBuffer(key: string): Promise<Buffer | null>;
  /** Stores bytes as they are, and their expiry. Read them with {@link getBuffer}. */
  setBuffer(key: string, value: Uint8Array, ttlSec?: number): Promise<void>;
  /** Deletes keys; gives how many there were. Without keys it does nothing and gives 0. */
  del(...keys: string[]): Promise<number>;
  /** Is there a value, of whatever type? */
  has(key: string): Promise<boolean>;
  /** The values of `keys` in their order, all of one moment; `null` where there is none or one of another type. */
  mget<T = unknown>(keys: string[]): Promise<(T | null)[]>;
  /**
   * Sets any number of values, all or none. Of a key that comes twice the last value counts.
   *
   * @param entries A record, a `Map`, or any iterable of pairs of key and value.
   * @param ttlSec For all of them; without it they have no expiry.
   */
  mset(entries: Record<string, unknown> | Iterable<[string, unknown]>, ttlSec?: number): Promise<void>;
  /**
   * Adds to a counter, which begins at 0. Atomic.
   *
   * @param by A whole number, of either sign. Default 1.
   * @param ttlSec The expiry of a counter that this call creates; one that exists keeps its own.
   * @returns The new value.
   * @throws RedisError of kind `serialization` when the new value is beyond 2⁵³ − 1 (it is stored then); `server` for a value that is
   * no whole number or would leave 64 bits (nothing is changed then).
   */
  incr(key: string, by?: number, ttlSec?: number): Promise<number>;
  /** Subtracts from a counter: {@link incr} the other way. */
  decr(key: string, by?: number): Promise<number>;
  /**
   * Sets `next` if the value is `expected`. Atomic.
   *
   * Values are compared as JSON: the order of an object's names does not matter, nor does how another program wrote it (to a depth of
   * 127; deeper ones are compared as text).
   *
   * @param expected `null`: only if there is no value. (A stored `null` is a value; change it with {@link update}.)
   * @param ttlSec The new expiry; without it the present one is kept.
   * @returns `false` if the value is another one: nothing was changed.
   */
  cas<T>(key: string, expected: T | null, next: T, ttlSec?: number): Promise<boolean>;
  /**
   * Changes a value by a function of it. Nothing is lost between concurrent updates: what is written is `change` of exactly the value
   * it replaces.
   *
   * Concurrent updates of one key by one process are made together, in the order of the calls; with other processes they compete, each
   * attempt after a longer random delay (up to 100 ms).
   *
   * @param change Given the present value, or `null`; returns the next one, or `null` to delete the key. It may be called several
   * times, so it must do nothing else, and returns at once: a promise is refused.
   * @returns The new value.
   * @throws What `change` throws: nothing is changed by it then. RedisError of kind `timeout`, delivery `rejected`, when
   * `maxAttempts` are used up; `serialization` for a next value that JSON cannot express.
   */
  update<T>(key: string, change: (current: T | null) => T | null, options?: UpdateOptions): Promise<T | null>;
  /** The value of `key`, which is deleted. Atomic. Needs Redis 6.2. */
  getDel<T = unknown>(key: string): Promise<T | null>;
  /** Sets a value and its expiry, as {@link set}, and gives the one before. Atomic. Needs Redis 6.2. */
  getSet<T>(key: string, value: T, ttlSec?: number): Promise<T | null>;
  /** Seconds until `key` expires, with fractions; `Infinity` without an expiry; `null` if there is no such key. */
  ttl(key: string): Promise<number | null>;
  /** Sets the expiry of `key`. `false`: there is no such key. */
  expire(key: string, ttlSec: number): Promise<boolean>;
  /** Takes the expiry of `key` away. `false`: there is no such key, or it had none. */
  persist(key: string): Promise<boolean>;
  /**
   * The keys of this store's namespace, without it, a batch at a time; `break` stops the scan.
   *
   * As with Redis' own `SCAN`, a key that is there all the time is given, one that comes or goes meanwhile may be, and one may be given
   * twice. That holds over failovers, restarts and moving slots too, whose part of the walk begins anew. This package's own keys (`~`) and keys
   * that are not UTF-8 are left out.
   *
   * @throws RedisError of kind `server` with `CLUSTERDOWN` when a part of a cluster is served by nobody for `commandTimeoutMs`.
   */
  scan(options?: ScanOptions): AsyncGenerator<string, void, undefined>;
  /**
   * Deletes every key of this store's namespace, of whatever type, and its locks (their holders lose them). What other features keep in
   * the manager's namespace under `~` stays. Not atomic: a key that is set meanwhile may stay. Nothing else does, over a failover neither.
   *
   * @returns How many keys there were, locks not counted; where a connection was lost on the way, about so many.
   * @throws RedisError of kind `config` when neither the manager nor the store has a namespace.
   */
  clear(): Promise<number>;
  /**
   * Puts a value in front of a list and cuts the list to its `limit` newest. Atomic.
   *
   * @param limit A whole number from 1.
   * @param ttlSec The list's new expiry; without it the present one is kept.
   * @returns How many the list has now.
   */
  lpushRecent<T>(key: string, value: T, limit: number, ttlSec?: number): Promise<number>;
  /** The newest values of a list, newest first; none if there is no such key. `limit` is a whole number from 1. */
  getRecent<T = unknown>(key: string, limit: number): Promise<T[]>;
  /** As {@link get}, counted as a hit or a miss in the manager's metrics. */
  cacheGet<T = unknown>(key: string): Promise<T | null>;
  /** As {@link set}, under a name of its own in the manager's metrics. */
  cacheSet<T>(key: string, value: T, ttlSec?: number): Promise<void>;
  /**
   * The value of `key`, or what `load` gives, which is stored for `ttlSec` plus `staleSec`. Counted as a hit or a miss.
   *
   * One `load` runs at a time: callers of this process share it, other processes wait for its value, each for `waitMs`. The right to
   * load is a lease of 3 s that is renewed from Rust while `load` runs, up to `loadTimeoutMs`, so a process that dies is succeeded
   * within that time and a slow `load` is not doubled. For `staleSec` after `ttlSec` the old value is given at once, and one caller
   * loads a new one in the background; a failure of that is an `'error'` event of the manager (a `RedisError`, whose `cause` is what
   * `load` threw), and the next caller tries again. So is a value that was loaded and could not be stored.
   *
   * A write to the key ends the load that is under way: what it gives is the value of the callers that wait for it, and is not stored.
   * Who calls after the write gets what was written, or another load. Every method of this class that changes the key is such a
   * write, and so is a `SET` by anyone else, unless it expires within 3 s; a deletion by anyone else is none where the key is absent.
   *
   * A caller always gets what JSON makes of the value (a `Date` is a string), its own copy. `null` is a value like any other.
   *
   * @throws What `load` throws, to the waiting callers of this process; those elsewhere load then. RedisError of kind `timeout` when
   * another caller loads for longer than `waitMs`, or `load` takes longer than `loadTimeoutMs`; `config` where `load` itself calls
   * `getOrSet` of the same key, which would wait for itself; `serialization` for a value that JSON cannot express.
   */
  getOrSet<T>(key: string, load: () => T | Promise<T>, options: GetOrSetOptions): Promise<T>;
  /**
   * Takes a lock that nobody else holds: a lease with a fencing token, renewed from a Rust thread, so that a blocked event loop does not
   * lose it. It is lost when the server cannot be reached for the length of the lease, when this process is stopped for that long, or
   * when the manager is disconnected: then `lock.signal` is aborted. Time on the server is the server's; this process counts its lease
   * by its own monotonic clock, from before each renewal was sent, so it never takes itself for the holder longer than the server does.
   *
   * A lock is not reentrant, and it is no queue: who waits tries again after random delays of up to 200 ms. Holding one does not keep
   * the process alive. Give it back with `await using` or `release()` before `disconnect()`; otherwise it runs out.
   *
   * @param key Names the lock; it has nothing to do with a value under the same key.
   * @throws RedisError of kind `timeout`, delivery `rejected`, if another one holds it for longer than `waitMs`; `cancelled` when
   * `options.signal` was aborted.
   */
  lock(key: string, options?: LockOptions): Promise<Lock>;
}
/** A {@link KVStore} on `base`. */
export declare function makeRedisKV(base: IRedisConnection, namespace?: string): KVStore;

/** Where Redis is and how to talk to it. Values are checked in Rust, once, by name. */

/** Gives the password for one connection. */
type PasswordFunction = () => string | Uint8Array | Promise<string | Uint8Array>;
/** TLS options. Certificates and keys are PEM. */
export interface RedisTlsConfig {
  /**
   * Certificate authorities to trust instead of the public ones; a text may hold several. A server's own certificate is one too.
   * Default: Mozilla's, and those in the file that `NODE_EXTRA_CA_CERTS` names.
   */
  ca?: string | Buffer | (string | Buffer)[] | undefined;
  /** The client's certificate, for mutual TLS; with `key`. */
  cert?: string | Buffer | undefined;
  /** The private key of `cert`: PKCS #8, encrypted or not, PKCS #1 or SEC 1. */
  key?: string | Buffer | undefined;
  /** The passphrase of `key`, where `key` is encrypted. */
  passphrase?: string | Uint8Array | undefined;
  /** The name to expect in the server's certificate. Default: the host. */
  servername?: string | undefined;
  /** `false` accepts any certificate, so anybody between here and the server can read along. Default true. */
  rejectUnauthorized?: boolean | undefined;
}
/** How a lost connection is restored: exponential backoff with full jitter. */
export interface RedisReconnectConfig {
  /** Milliseconds, at least 1. Default 50. */
  minDelayMs?: number | undefined;
  /** Milliseconds, at least `minDelayMs`. Default 2 000. */
  maxDelayMs?: number | undefined;
  /** Attempts before the state becomes `failed`. Default: endless. */
  maxAttempts?: number | undefined;
}
/** The configuration of a {@link RedisConnectionManager}. Unknown names are refused. */
export interface RedisConfig {
  /**
   * `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://`, `redis+cluster://` or `memory://name`. Excludes `host`, `port`
   * and `path`; what else is given here wins over what the URL says. An empty part of it, such as a template leaves whose variable is not
   * set, is refused.
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
  /** Bytes are UTF-8. A function is asked again at every new connection, so a rotated password needs no restart. */
  password?: string | Uint8Array | PasswordFunction | undefined;
  /** The ACL user at the sentinels, with `sentinelPassword`; `username` and `password` are for the servers they watch over. */
  sentinelUsername?: string | undefined;
  /** The password at the sentinels. Default: they are asked without credentials. */
  sentinelPassword?: string | Uint8Array | undefined;
  /**
   * Where to reach what a cluster or sentinels announce, for one behind NAT, Docker or a tunnel: `{ '10.0.0.1:7000': 'redis.example:17000' }`. Each
   * name and each value is a host and a port; an IPv6 address is in brackets. It goes for nodes, masters and sentinels, those of the URL
   * too. What is not in it is reached as announced. TLS expects the reachable host in the certificate, unless `tls.servername` is given.
   */
  addressMap?: Record<string, string> | undefined;
  /** Default false, or true for `rediss://`. */
  tls?: boolean | RedisTlsConfig | undefined;
  /** `true`: the constructor does no I/O and the first use connects. Default true. */
  lazyConnect?: boolean | undefined;
  /** Milliseconds for one attempt: name, TCP, TLS, handshake, password. Default 10 000. */
  connectTimeoutMs?: number | undefined;
  /** Further attempts of the first connect. Default 0: it fails fast. A connection that was up is restored endlessly. */
  connectRetries?: number | undefined;
  /** Milliseconds for a command, from the call to the answer, waiting for a reconnect included. Default 5 000. */
  commandTimeoutMs?: number | undefined;
  /** How a lost connection is restored. */
  reconnect?: RedisReconnectConfig | undefined;
  /** Milliseconds from 10 to 32 767 000, the most that the kernel takes. A dead peer is noticed within twice this. Default 10 000. */
  keepAliveMs?: number | undefined;
  /** Commands that may wait; one more is refused with kind `overloaded`. Default 100 000. */
  maxPendingCommands?: number | undefined;
  /** Bytes of commands that may wait, from 1 024. Default 256 MiB. */
  maxPendingBytes?: number | undefined;
  /**
   * What one reply may take, in bytes from 65 536 to 1 TiB: its bytes on the wire, and 40 for each element of an array. A longer one is
   * read past and kept nowhere: its caller's promise rejects with kind `serialization` and delivery `maybe-executed`, its neighbours'
   * get their answers. One that goes on for longer than `commandTimeoutMs` costs the connection. A longer message of a subscription is
   * dropped, counted, and told by the bus' event `slow`. Default 1 GiB; Redis holds no string longer than 512 MiB unless it is told to.
   */
  maxReplyBytes?: number | undefined;
  /** Milliseconds that `disconnect()` waits for answers. Default 5 000. */
  closeTimeoutMs?: number | undefined;
  /** The connection's name in `CLIENT LIST`: printable ASCII without spaces. Default `redis-backplane`. */
  clientName?: string | undefined;
  /** Prefix of every key and topic of everything built on this manager; a colon follows it. */
  namespace?: string | undefined;
}
type Environment = Record<string, string | undefined>;
/**
 * The configuration that the environment gives: `REDIS_ENABLED`, `REDIS_URL`, `REDIS_HOST`, `REDIS_PORT`, `REDIS_DB`,
 * `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_TLS`. `REDIS_URL` wins over host and port; user, password and database beside a URL win
 * over those in it. An empty variable counts as not set.
 *
 * `null`, which is off, when `REDIS_ENABLED` is false, whatever else is set; and when it is not set, and neither `REDIS_URL` nor `REDIS_HOST` is.
 *
 * A `REDIS_PORT` such as `tcp://10.0.0.1:6379`, which Kubernetes and Docker set for a service named `redis`, is understood where
 * `REDIS_HOST` is that service: `redis`, `redis.…`, its address, or what `REDIS_SERVICE_HOST` says.
 *
 * @param env Default `process.env`.
 * @throws RedisError of kind `config` for a value that is none, naming the variable, and for `REDIS_ENABLED=true` without an address.
 */
export declare function redisConfigFromEnv(env?: Environment): RedisConfig | null;
/** A configuration for tests: {@link createTestRedisConfig} without overrides, made once for this process. */
export declare const REDIS_TEST_CONFIG: RedisConfig;
/**
 * A configuration for a test, with a namespace of its own at each call, so that tests can run side by side. The server is that of
 * `REDIS_TEST_URL`, else the engine inside this process, `memory://redis-backplane-tests`.
 *
 * @param overrides Win over what this function chooses.
 */
export declare function createTestRedisConfig(overrides?: RedisConfig): RedisConfig;

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
  /** Sentinel and Cluster: answers of sentinels and nodes about where the masters are. 0 on a single server. */
  redis_topology_refreshes_total: number;
  /** Sentinel and Cluster: how often the masters, their slots or their replicas turned out to be elsewhere. */
  redis_topology_changes_total: number;
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
  /** Jobs added; those that were there already are none. */
  redis_queue_jobs_added_total: number;
  /** Jobs that this process' workers took in hand. */
  redis_queue_jobs_claimed_total: number;
  /** Jobs that this process' workers completed. */
  redis_queue_jobs_completed_total: number;
  /** Attempts of this process' workers that failed. */
  redis_queue_attempts_failed_total: number;
  /** Jobs of workers that were gone, given away by this process. */
  redis_queue_jobs_given_away_total: number;
  /** Records and keys of queues that were found damaged, by this process' workers. */
  redis_queue_damaged_total: number;
  /** Jobs whose lease was lost while they were in hand. */
  redis_queue_leases_lost_total: number;
  /** Messages that the server accepted, live and durable. */
  redis_bus_published_total: number;
  /** Messages given to handlers and iterators; one that two of them got counts twice. */
  redis_bus_delivered_total: number;
  /** Live messages that had to go because more waited than `maxPending` allows, or that were longer than `maxReplyBytes`. */
  redis_bus_dropped_total: number;
  /** Messages that are not JSON, and records of consumer groups in Redis that cannot be read. */
  redis_bus_malformed_total: number;
  /** Durable messages whose records in Redis were lost, and that were put back. */
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
   * By durable topic and group, for the groups that are consumed here: messages that the group has not acknowledged, in hand ones
   * included. Renewed every few seconds. Before Redis 7, and after entries were deleted, what was never read counts as 1 000 at most.
   */
  redis_bus_lag: Record<string, Record<string, number>>;
  /** Open connections. */
  redis_connection_pool_size: number;
  /** Commands accepted and not yet settled. */
  redis_commands_pending: number;
  /** Bytes of commands accepted and not yet settled. */
  redis_pending_bytes: number;
  /** The most callers that ever shared one attempt to connect. */
  redis_concurrent_initialization_attempts: number;
  /** Workers of this process that are registered. */
  redis_registry_workers: number;
  /** Heartbeats of workers that the server has answered. */
  redis_registry_heartbeats_total: number;
  /** Registrations of this process that were over without its doing: crashed, forgotten, or taken over. */
  redis_registry_fenced_total: number;
  /** Records of a registry that this process found damaged: see the event `malformed`. */
  redis_registry_malformed_total: number;
  /** How often the event loop was found to be stalled. */
  redis_registry_event_loop_stalled_total: number;
  /** From a ping to the event loop until its answer, while workers beat by themselves. */
  redis_registry_event_loop_lag_ms: HistogramSnapshot;
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
  /** Did the server answer? In a cluster also: is every hash slot served? */
  ok: boolean;
  /**
   * Does Redis take writes? `false`: it refuses them (`OOM`, `READONLY`, `MISCONF`, `NOREPLICAS`, …) or does not answer, and `error` says why.
   * Whether this manager's user may write is not judged.
   */
  writable: boolean;
  state: ConnectionState;
  /** The round trip in milliseconds; `null` without an answer. */
  latencyMs: number | null;
  /** Who answered, or who answered last. */
  server?:
    | {
        kind: string;
        version: string;
        role: string;
      }
    | undefined;
  /**
   * In a cluster, how much of it is served. `slotsServed` of `slotsTotal`, 16 384: those whose master answers and serves keys. `state`: `fail`
   * where a node that answers says that the cluster is down, or no slot is served.
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
 *
 * From its first use to {@link disconnect} its connections stay and its listeners are told, whether or not anyone keeps the object. Once it has ended
 * it can be collected, with its listeners, also where they know it.
 */
export declare class RedisConnectionManager {
  /**
   * @param config A configuration, or a URL. Default: the local server.
   * @throws RedisError of kind `config`, naming the option, what was expected and what came; `connection` where the operating system
   * refuses what the first manager of a process needs: a thread, an event queue.
   */
  constructor(config?: RedisConfig | string | URL);
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
  /**
   * Asks the server who it is and whether it takes writes (by a `SET` that changes nothing), in a cluster every master. Never rejects;
   * bounded by `commandTimeoutMs`.
   */
  health(): Promise<ConnectionHealth>;
  /**
   * Sends any Redis command and gives its reply: strings for bulk strings (a `Buffer` where the bytes are not UTF-8), numbers (a
   * `bigint` beyond 2⁵³), arrays, `null`, and plain objects for RESP3 maps (an array of keys and values in turn where a key is not UTF-8).
   *
   * A blocking command (`BLPOP`, `XREAD BLOCK`, …) gets a connection of its own and may take as long as it says. Commands that would
   * change the shared connection (`SUBSCRIBE`, `MULTI`, `SELECT`, `READONLY`, `CLIENT SETNAME`, …) are refused with kind `config`, saying why or
   * what to use instead; here as in {@link transaction}.
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
  /** Adds a listener. One that throws or rejects is reported as a process warning; it affects nobody else. */
  on<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this;
  /** Adds a listener for the next time only. */
  once<E extends keyof ConnectionEvents>(event: E, listener: (...args: ConnectionEvents[E]) => unknown): this;
  /** The same as {@link disconnect}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a queue tells of its jobs, wherever in the fleet it happens. */

/** The events of a {@link TaskQueue}. All but `gap` and `error` are of the whole fleet: each queue object that listens hears each of them. */
export interface TaskQueueEvents<R = unknown> {
  /** A job was added. */
  added: [
    event: {
      jobId: string;
      name: string;
    },
  ];
  /** A worker has begun with it. */
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
  /** It completed. `result` is left out when it is `undefined`, or more than 64 KiB of JSON: then read it with {@link TaskQueue.getJob}. */
  completed: [
    event: {
      jobId: string;
      result?: R;
    },
  ];
  /** It failed for good. */
  failed: [
    event: {
      jobId: string;
      reason: string;
    },
  ];
  /** An attempt failed, or put its job back with a {@link DelayError}; the next is made in `delayMs` milliseconds. */
  retrying: [
    event: {
      jobId: string;
      reason: string;
      delayMs: number;
      attemptsMade: number;
    },
  ];
  /** It lost its worker and waits for another one. */
  stalled: [
    event: {
      jobId: string;
    },
  ];
  /** It was removed. */
  removed: [
    event: {
      jobId: string;
    },
  ];
  /** The last waiting job was taken. */
  drained: [];
  /** Events were missed: this listener lagged behind what Redis keeps of them, or its connection was away. `missed`: how many, where that is known. */
  gap: [
    event: {
      missed: number | null;
    },
  ];
  /** Redis could not be reached, or an event could not be read. Without a listener nothing is thrown. */
  error: [error: RedisError];
}

/** Workers as a registry tells them, and what it takes and tells. */

/** What a worker does, as it declares itself. Only an `idle` or `busy` one can be claimed. */
export type WorkerStatus = 'idle' | 'busy' | 'paused' | 'draining';
/**
 * How a worker is, as the server's clock and its heartbeats say. `healthy`: it beats in time and its event loop answers. `degraded`: it
 * lives, but see {@link WorkerInfo.degradedBecause}. `crashed`: without a heartbeat for `crashedAfterMs` and one more interval, or its
 * process went without a word; final for that epoch. `unknown`: never registered, or forgotten; or its time is up while nobody may
 * judge (after a restart of Redis, in a storm, or by a process that was cut off itself).
 */
export type WorkerHealth = 'healthy' | 'degraded' | 'crashed' | 'unknown';
/** What a worker is registered with. Unknown names are refused. */
export interface WorkerRegistration {
  /** 1 to 1 024 bytes of any characters. Default: a random UUID. Registering an id again ends its present registration. */
  id?: string | undefined;
  /** 1 to 512 bytes. Default `worker`. */
  type?: string | undefined;
  /** What it can do: at most 256, each 1 to 512 bytes of any characters. Default: nothing. */
  capabilities?: string[] | undefined;
  /** An object that JSON can express in at most 64 KiB. Default `{}`. */
  metadata?: Record<string, unknown> | undefined;
  /** Slots that can be claimed at once: a whole number from 0 to 1 000 000. Default 1. */
  capacity?: number | undefined;
}
/** A worker at an instant. Times are milliseconds of the server's clock since 1970. */
export interface WorkerInfo {
  id: string;
  type: string;
  capabilities: string[];
  metadata: Record<string, unknown>;
  /** Slots that can be claimed at once. */
  capacity: number;
  status: WorkerStatus;
  health: WorkerHealth;
  /**
   * Only of a degraded one. `late`: no heartbeat for `degradedAfterMs`. `event-loop-stalled`: its heartbeats come, but its event loop has
   * not answered for `stalledAfterMs`. `reported`: it said so.
   */
  degradedBecause?: 'late' | 'event-loop-stalled' | 'reported' | undefined;
  /** As it said: from 0 on, in millionths; 1 means full. */
  load: number;
  /** Slots that are claimed now. */
  claimed: number;
  /** The fencing token of this registration: each later one of any worker in this registry has a larger one. */
  epoch: number;
  registeredAt: number;
  lastHeartbeatAt: number;
  hostname: string;
  pid: number;
  /** Milliseconds that its event loop took to answer, at its last heartbeat. Absent once its process is gone for long. */
  eventLoopLagMs?: number | undefined;
  /** Milliseconds since its event loop had answered, at its last heartbeat. */
  lastTickAgeMs?: number | undefined;
  /** The resident memory of its process, when its event loop answered last. */
  memoryBytes?: number | undefined;
}
/** What is said of a worker with a heartbeat; what is left out stays as it was. */
export interface HeartbeatUpdate {
  status?: WorkerStatus | undefined;
  /** From 0 to 1 000 000 000; 1 means full. Kept in millionths. */
  load?: number | undefined;
  /** Replaces all of it. */
  metadata?: Record<string, unknown> | undefined;
  /** `true`: the worker is degraded (`reported`), until it says `false`. */
  degraded?: boolean | undefined;
}
/** Which workers are listed: those for which all of it holds. */
export interface WorkerFilter {
  type?: string | undefined;
  /** It has every one of them. */
  capabilities?: string[] | undefined;
  status?: WorkerStatus | undefined;
  health?: WorkerHealth | undefined;
  /** At most so many, which ones is open. Default: all. */
  limit?: number | undefined;
}
/** How many workers there are. Those whose health is unknown are in `total` only. */
export interface WorkerCount {
  total: number;
  healthy: number;
  degraded: number;
  crashed: number;
}
/** A command for a worker, taken with its next heartbeat. What it does about it is the worker's own matter. */
export interface WorkerCommand {
  name: 'pause' | 'resume' | 'drain' | 'shutdown';
  /** Anything that JSON can express; with the name at most 64 KiB. */
  data?: unknown;
}
/** What happened to a worker. `status`: it declared another one. `degraded` again: for another reason than before. */
export type WorkerEventName = 'joined' | 'left' | 'status' | 'degraded' | 'recovered' | 'crashed';
/** An event of the fleet. */
export interface WorkerEvent {
  event: WorkerEventName;
  /** Its place among the events. */
  position: string;
  /** When; milliseconds of the server's clock. */
  at: number;
  /** The worker as it was then. Metadata above 4 KiB are those of now, and `{}` if that registration is over. */
  worker: WorkerInfo;
}
/** A damaged record of a registry. */
export interface MalformedRecord {
  /**
   * What could not be read. Of a worker: `id`, `state`, `definition`, `metadata`, `labels`, and `index` for an entry without a worker or in a
   * place that is not its own. `command`: of those that wait for a worker. `claim`, `crash`: an entry of the claims, of the crashes to be reaped.
   * `event`: one that happened. `counter`: a number. `key`: a whole key, of another type.
   */
  part: 'id' | 'state' | 'definition' | 'metadata' | 'labels' | 'index' | 'command' | 'claim' | 'crash' | 'event' | 'counter' | 'key';
  /** The worker's id, the claim, the event's position, the counter, the key; up to 1 024 bytes. */
  of: string;
}
/** The events of a registry, with what their listeners are given. */
export interface RegistryEvents {
  /** A worker was registered, for the first time or again. */
  joined: [worker: WorkerInfo];
  /** A registration was ended, by its holder or because its id was registered again. */
  left: [worker: WorkerInfo];
  /** A worker declared another status. */
  status: [worker: WorkerInfo];
  /** A worker lives, but see its `degradedBecause`; again when that changes. */
  degraded: [worker: WorkerInfo];
  /** A degraded worker is healthy again. */
  recovered: [worker: WorkerInfo];
  /** A worker was declared crashed. */
  crashed: [worker: WorkerInfo];
  /**
   * The registration of a worker of this process is over without its doing: it was declared crashed, forgotten, or its id was
   * registered by somebody else. `next` is its new registration where the registry has registered it again by itself; `null`: it has
   * not, because somebody else has the id, heartbeats are not automatic, or the manager was disconnected.
   */
  fenced: [worker: WorkerInfo, next: WorkerInfo | null];
  /** A worker of this process was sent a command. */
  command: [command: WorkerCommand, worker: WorkerInfo];
  /**
   * A record that this package has not written was found, by this process, and taken away; all others are as they were. A worker whose record
   * it was is registered again by its holder, with its next heartbeat.
   */
  malformed: [record: MalformedRecord];
  /** Events were trimmed before this process had read them; `list()` says how things are. */
  gap: [
    info: {
      missed: number;
    },
  ];
  /** Events cannot be read yet; it is tried again. Without a listener nothing is thrown. */
  error: [error: RedisError];
}

/** What a user may say about jobs, workers and schedules. The values are checked in Rust, by name. */

/**
 * Where a job is. `waiting`: a worker may take it. `active`: a worker holds it. `delayed`: its time has not come. `completed`, `failed`:
 * it is over. `waiting-children`: some of its children are not over, or the job that it follows (`dedupe` with `replace`).
 */
export type JobState = 'waiting' | 'active' | 'delayed' | 'completed' | 'failed' | 'waiting-children';
/** How long a failed attempt's job waits for its next one. */
export interface Backoff {
  /** `fixed`: `delayMs` each time. `exponential`: `delayMs` after the first attempt, twice as long after each further one. */
  type: 'fixed' | 'exponential';
  /** Milliseconds, from 0. */
  delayMs: number;
  /** Milliseconds: no delay is longer. Default: no bound. */
  maxDelayMs?: number | undefined;
  /** From 0 to 1: the share of the delay that is random. 0.5 gives between half of it and all of it. Default 0. */
  jitter?: number | undefined;
}
/** Which finished jobs stay. `count`: so many of the newest. `ageMs`: those that finished at most so many milliseconds ago. */
export interface KeepRule {
  /** The newest so many, from 0; of 1 000 and more up to a twentieth more, at most 100, until those go together. Default: no bound. */
  count?: number | undefined;
  /** Milliseconds, from 0. Default: no bound. */
  ageMs?: number | undefined;
}
/** One of the children that a job waits for; see {@link JobOptions.children}. */
export interface ChildJob {
  /** The queue it goes to, in the same namespace. Default: the parent's. */
  queue?: string | undefined;
  /** As in {@link TaskQueue.add}. */
  name: string;
  /** As in {@link TaskQueue.add}. */
  data: unknown;
  /** As in {@link TaskQueue.add}; children may have children. */
  options?: JobOptions | undefined;
}
/** Options of a job. Unknown names are refused; one that is `undefined` counts as not given. */
export interface JobOptions {
  /**
   * 1 to 512 bytes without control characters, unique in the queue. Adding an id that exists, in whatever state, changes nothing and gives
   * the existing job. Default: one that the package makes.
   */
  id?: string | undefined;
  /** Milliseconds, from 0, before which no worker gets it. Default 0. */
  delayMs?: number | undefined;
  /** 0 to 2 097 151; lower ones are served first, equal ones in order of adding. Default 0. */
  priority?: number | undefined;
  /** `true` puts it at the head of the queue. Excludes `priority` above 0 and `children`. Default false. */
  lifo?: boolean | undefined;
  /** How often it is tried at most, from 1. An attempt that lost its lease counts in `stalledCount` instead. Default 1. */
  attempts?: number | undefined;
  /** The pause between attempts. Default: none. */
  backoff?: Backoff | undefined;
  /** Milliseconds for one attempt, counted in Rust, blocked event loop or not; then `context.signal` is aborted and the attempt has failed. Default: no bound. */
  timeoutMs?: number | undefined;
  /** Does it stay when it has completed? `true`: for ever. `false`: not at all; its result is only in events. Default: the 1 000 newest. */
  keepCompleted?: boolean | KeepRule | undefined;
  /** Does it stay when it has failed for good? Default: the 10 000 newest. */
  keepFailed?: boolean | KeepRule | undefined;
  /**
   * While a job of this `id` is in the queue and not over, and for `ttlMs` after it was added, adding another one gives that job instead; where it is
   * over and was not kept, with the name and data of this call, and without its result. Removing the job frees the id.
   *
   * With `replace` the newest data counts. A job that waits or is delayed is removed, and the new one is added. One that is active, or waits for
   * children, goes on, and the new one follows it: it is `waiting-children` until that is over, however that ends; of several the last one.
   * Where the job is over and `ttlMs` has not passed, that job is given all the same.
   */
  dedupe?:
    | {
        id: string;
        ttlMs?: number | undefined;
        replace?: boolean | undefined;
      }
    | undefined;
  /**
   * Jobs of one group are served in turn with other groups', so that many of one do not hold up the few of another; with
   * {@link WorkerOptions.groupConcurrency} at most so many of it run at once in the fleet.
   */
  group?: string | undefined;
  /**
   * Jobs, here or in other queues, that must complete before this one waits for a worker. They are added with it, all or none per queue; at most 10 000, in at most 16 queues after
   * one another. One that is there already, by its `id` or `dedupe`, is waited for as it is; one that is removed is waited for no longer; one that fails fails this job too, which, when it is retried, waits for it to be retried and complete.
   * Excludes `delayMs` and `lifo`.
   */
  children?: ChildJob[] | undefined;
  /**
   * What it belongs to, 1 to 512 bytes without control characters: the {@link correlation} in its processor, so that messages published and jobs added
   * there get it too. Default: that of where it is added, which a schedule's jobs and `children` do not inherit.
   */
  corrId?: string | undefined;
}
/** When a schedule ticks. `cron`: five fields, or six with seconds first; `tz`: an IANA zone, default UTC. `everyMs`: from the time it was first given on. */
export type ScheduleTimes =
  | {
      everyMs: number;
    }
  | {
      cron: string;
      tz?: string | undefined;
    };
/** A job that a {@link TaskQueue.schedule} adds at each tick. */
export interface ScheduledJob<T = unknown> {
  /** As in {@link TaskQueue.add}. */
  name: string;
  /** As in {@link TaskQueue.add}. */
  data: T;
  /** As in {@link TaskQueue.add}, but for `id`, `dedupe` and `children`: every tick adds a job of its own. `delayMs` counts from the tick on. */
  options?: JobOptions | undefined;
}
/** A schedule, as it stands. */
export interface Schedule<T = unknown> {
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly id: string;
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly when: ScheduleTimes;
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly job: ScheduledJob<T>;
  /** Its next tick, in milliseconds since the epoch, by the server's clock. */
  readonly nextAt: number;
  /** Its last tick. */
  readonly lastAt?: number | undefined;
  /** How often it has ticked. */
  readonly ticks: number;
}
/** Options of a {@link TaskQueue}. Unknown names are refused. */
export interface TaskQueueOptions {
  /** A prefix of every key of this queue, inside the manager's namespace; a colon follows each of the two. Default: none. */
  namespace?: string | undefined;
  /** What a job has where its own options say nothing. */
  defaultJobOptions?: JobOptions | undefined;
}
/** Options of {@link TaskQueue.list}. */
export interface ListOptions {
  /** How many to skip, from 0. Default 0. */
  start?: number | undefined;
  /** How many at most, from 0. Default 100. */
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
  /** Those of the job, whose own `timeoutMs` is that of an attempt. */
  job?: JobOptions | undefined;
}
/** Options of {@link TaskWorker.close} and {@link TaskQueue.close}. */
export interface CloseOptions {
  /** Milliseconds for the jobs in hand to finish, from 0; what is left then is handed back at once and its signal aborted, which takes at most 2 s more. Default 30 000. */
  graceMs?: number | undefined;
}
/** What a worker needs of a {@link WorkerRegistry}, which is one. */
export interface TaskWorkerRegistry {
  register(worker: { type?: string | undefined; capacity?: number | undefined; metadata?: Record<string, unknown> | undefined }): Promise<{
    id: string;
    epoch: number;
  }>;
  heartbeat(
    id: string,
    update?: {
      status?: WorkerStatus | undefined;
      load?: number | undefined;
    },
  ): Promise<boolean>;
  /** A load that goes with the next heartbeat. Without it only changes of the status are told. */
  report?(
    id: string,
    now: {
      load: number;
    },
  ): void;
  unregister(id: string): Promise<boolean>;
  /** `command`: `pause` and `resume` are {@link TaskWorker.pause} and `resume`, `drain` and `shutdown` close it. `fenced`: it was registered anew, or not. */
  on?(
    event: 'command',
    listener: (
      command: WorkerCommand,
      worker: {
        id: string;
      },
    ) => unknown,
  ): unknown;
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
  off?(event: 'command' | 'fenced', listener: never): unknown;
}
/** Options of {@link TaskQueue.process}. Unknown names are refused. */
export interface WorkerOptions {
  /** How many jobs it holds at once, from 1 to 10 000. Default 1. */
  concurrency?: number | undefined;
  /**
   * Milliseconds, from 1 000 to 2 147 483 647. The lease of a job in hand is renewed from Rust, blocked event loop or not; when this
   * process is gone, the job is given to another worker within this time plus one sweep. Default 30 000.
   */
  leaseMs?: number | undefined;
  /** How often a job may lose its worker before it fails, from 0 to 1 000. Default 1. */
  maxStalls?: number | undefined;
  /** At most `max` jobs are begun within `perMs` milliseconds, by all workers of the queue together. Default: no bound. */
  rateLimit?:
    | {
        max: number;
        perMs: number;
      }
    | undefined;
  /** How many jobs of one {@link JobOptions.group} run at once, in the fleet; from 1. Default: no bound. */
  groupConcurrency?: number | undefined;
  /** `false`: it begins with {@link TaskWorker.run}. Default true. */
  autorun?: boolean | undefined;
  /**
   * The worker registers itself there, with the queue's name as its type and its concurrency as its capacity, keeps load (jobs in hand / concurrency) and
   * status current, and unregisters when it is closed. When that registry, on the same manager, declares the worker crashed, its jobs are given to
   * others at once, not when its lease ends. A registry that cannot be reached holds nothing up: it is an `error` event, and tried again.
   */
  registry?: TaskWorkerRegistry | undefined;
}

/** Jobs, as the books have them. */

/**
 * A job, as it was when this object was made or last refreshed. Its methods act on the job in Redis.
 *
 * Of every method: a job that is gone, or in a state that the method is not for, rejects with kind `config`; any call may reject with
 * `connection`, `timeout`, `closed` or `overloaded`, whose `delivery` says whether the server may have acted. In a processor `updateData`,
 * `updateProgress` and `log` carry the attempt's lease: once that is lost they change nothing and reject with kind `lease-lost`.
 */
export interface Job<T = unknown, R = unknown> {
  readonly id: string;
  readonly name: string;
  /** What JSON makes of what was added. Throws a RedisError of kind `serialization` where the stored text is damaged. */
  readonly data: T;
  /** As they were added, defaults included, children left out. */
  readonly options: JobOptions;
  readonly state: JobState;
  /** Attempts that have ended, those that lost their lease not counted. */
  readonly attemptsMade: number;
  /** What {@link updateProgress} was last given; `undefined` before. */
  readonly progress: unknown;
  /** What the processor returned, once completed. */
  readonly result?: R | undefined;
  /** Why the last attempt failed, or why the job was cancelled. */
  readonly failedReason?: string | undefined;
  /** The stacks of failed attempts, newest last, at most 10. */
  readonly stacktrace: string[];
  /** Milliseconds since the epoch, by the server's clock; so are the other two. */
  readonly addedAt: number;
  /** When its last attempt began. */
  readonly startedAt?: number | undefined;
  /** When it completed or failed for good. */
  readonly finishedAt?: number | undefined;
  /** How often it lost its worker. */
  readonly stalledCount: number;
  /** Replaces the data. */
  updateData(data: T): Promise<void>;
  /** Stores how far it is, any value that JSON can express, and tells the fleet's `progress` listeners. The next attempt sees it. */
  updateProgress(progress: unknown): Promise<void>;
  /** Adds a line, of at most 64 KiB, to its log, which keeps the newest 1 000. Gives how many there are. */
  log(line: string): Promise<number>;
  /** The lines of its log. */
  logs(): Promise<string[]>;
  /** Reads it again: this object then shows the job as it is, and is what is returned; `null` if the job is gone. */
  refresh(): Promise<Job<T, R> | null>;
  /** Removes it, in any state but `active` (kind `config`). `false`: there was none. */
  remove(): Promise<boolean>;
  /** Puts a failed job back to wait, its attempts counted anew: for a worker, or for those of its children that have not completed. */
  retry(): Promise<void>;
  /** Lets a delayed job wait for a worker at once. */
  promote(): Promise<void>;
  /** Has a delayed or waiting job's time come in `ms` milliseconds. */
  changeDelay(ms: number): Promise<void>;
  /** Changes the priority of a waiting or delayed job. */
  changePriority(priority: number): Promise<void>;
  /**
   * Resolves with the result when it has completed, at once where it has already. Of a job that does not stay (`keepCompleted: false`) the result
   * is gone with it: it is given to those who wait by then, as {@link TaskQueue.addAndWait} does.
   *
   * @throws JobFailedError when it failed for good. RedisError of kind `timeout`, delivery `rejected`, after `timeoutMs`; `cancelled` when
   * `signal` was aborted; `closed` when the queue is closed; `config` if there is no such job.
   */
  waitUntilFinished(options?: WaitOptions): Promise<R>;
  /**
   * Asks for its end. An active one has its `context.signal` aborted, in whatever process it runs: it completes if its processor returns all the
   * same, and fails for good with `reason` if that throws. One that is not active fails at once.
   *
   * @param reason Becomes `failedReason`. Default `cancelled`.
   * @returns `false`: it is over already, or gone.
   */
  cancel(reason?: string): Promise<boolean>;
}

/** One attempt at a job, in a worker's hand. */

/** What a {@link Processor} is given beside the job. */
export interface JobContext {
  /**
   * Aborted when the attempt is over for the fleet, whatever the processor still does. Its reason is a RedisError of kind `lease-lost`,
   * `timeout` (`timeoutMs` of the job), `cancelled` ({@link Job.cancel}) or `closed` (the worker was closed by force, or the manager
   * disconnected). After `cancelled` the outcome still counts; after the others it does not.
   */
  readonly signal: AbortSignal;
  /** 1 for the first. */
  readonly attempt: number;
  /** The results of the job's children, by id; those of another queue by `queue:id`. */
  readonly children: () => Promise<Record<string, unknown>>;
}
/**
 * Does a job. What it returns (`undefined`, or what JSON can express) completes the job; if it throws or rejects, the attempt has failed. It runs in
 * the async context in which {@link TaskQueue.process} was called, with the job's `corrId`, if it has one, as {@link correlation}.
 */
export type Processor<T = unknown, R = unknown> = (job: Job<T, R>, context: JobContext) => R | Promise<R>;

/** What works behind a worker: processors running, their outcomes collected and sent together. */

/** The events of a {@link TaskWorker}: of this worker only, in this process. */
export interface TaskWorkerEvents<T = unknown, R = unknown> {
  /** A job's processor begins. */
  active: [job: Job<T, R>];
  /** A processor has returned. That the books have it is the queue's event of the same name. */
  completed: [job: Job<T, R>, result: R];
  /** A processor has thrown: what it threw. Whether the job is tried again the queue's events say (`retrying`, `failed`). */
  failed: [job: Job<T, R>, error: unknown];
  /** Nothing waits and nothing is in hand; once per idle period. */
  idle: [];
  /**
   * Redis could not be reached; a job's lease was lost, or its outcome refused (kind `lease-lost`); a queue refused a message; records were found
   * damaged (kind `serialization`). Without a listener nothing is thrown; the worker goes on.
   */
  error: [error: RedisError];
  /** It takes no more jobs: it was closed, or its manager disconnected. */
  closed: [];
}

/** Workers, as a user has them. */

/**
 * Runs a processor on jobs of a queue. Made by {@link TaskQueue.process}.
 *
 * Leases are renewed, jobs claimed and outcomes sent by Rust: a processor that blocks the event loop loses nothing. A processor that
 * throws, rejects or returns what JSON cannot express fails its attempt; it never ends the process. While it runs (from {@link run} until
 * {@link close}) it keeps the process alive.
 */
export declare class TaskWorker<T = unknown, R = unknown> {
  /**
   * Begins to take jobs; does nothing where it does already. Only needed after `autorun: false`.
   *
   * @throws RedisError of kind `closed`.
   */
  run(): void;
  /** Takes no more jobs; resolves when none is in hand. {@link resume} ends it. Rejects with kind `closed`. */
  pause(): Promise<void>;
  /**
   * Takes jobs again.
   *
   * @throws RedisError of kind `closed`.
   */
  resume(): void;
  /** Does it take jobs, when there are any? */
  isRunning(): boolean;
  /**
   * Takes no more jobs and waits for those in hand, at most `graceMs`; what is left then has its signal aborted and goes back to the head of the
   * queue at once, its attempt not counted. Later calls share the first one's outcome, and may shorten its `graceMs`. Not to be awaited in a
   * processor, which would wait for itself.
   *
   * @returns `true`: every job in hand finished.
   */
  close(options?: CloseOptions): Promise<boolean>;
  /** Adds a listener. One that throws is reported as a process warning; it affects nobody else. */
  on<E extends keyof TaskWorkerEvents<T, R>>(event: E, listener: (...args: TaskWorkerEvents<T, R>[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof TaskWorkerEvents<T, R>>(event: E, listener: (...args: TaskWorkerEvents<T, R>[E]) => unknown): this;
  /** The same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The task queue: jobs added, looked at and managed; workers made. */

/**
 * A queue of jobs, in Redis: any number of processes add to it, look at it and work on it.
 *
 * A job is done at least once. One whose worker died is given to another within `leaseMs` plus one sweep, `stalledCount` up, and fails after
 * `maxStalls`. All times are the server's. Every write of a worker carries its lease, so one that lost it changes nothing.
 *
 * Of every method: a bad argument rejects with kind `config`, naming it, so do data that JSON cannot express, or of more than 16 MiB;
 * stored text that is damaged with `serialization`; any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery` says whether the server may have
 * acted. A queue object without listeners does not keep the process alive; one with listeners to the fleet, or with a running worker, does.
 */
export declare class TaskQueue<T = unknown, R = unknown> {
  /**
   * Opens nothing: any number of queues may be on one manager.
   *
   * @param name 1 to 512 bytes without control characters, `{` and `}`.
   * @param connection A manager, or a configuration: then the queue has a manager of its own, which is closed with it.
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(name: string, connection: IRedisConnection | RedisConfig, options?: TaskQueueOptions);
  /** Its name. */
  get name(): string;
  /**
   * Adds a job. Calls made at once go to the server together.
   *
   * @param name What kind of job it is, for the processor: 1 to 512 bytes.
   * @param data Anything that JSON can express, at most 16 MiB of it.
   * @returns The job; the existing one, changed in nothing, where the id or the dedupe id exists.
   * @throws RedisError of kind `config` for contradictory options, such as `lifo` with `priority`.
   */
  add(name: string, data: T, options?: JobOptions): Promise<Job<T, R>>;
  /**
   * Adds a job and waits until it has finished: its end is heard however soon it comes, also where it does not stay (`keepCompleted: false`). Where the id or
   * the dedupe id exists, it waits for that job.
   *
   * @returns The result; `undefined` also for a job that was over and has not stayed.
   * @throws JobFailedError when it failed for good. RedisError as {@link add}, and of kind `timeout` after `timeoutMs`, 30 000 by default, or `cancelled`
   * when `signal` was aborted: the job, if it was added, goes on; with delivery `rejected` it was.
   */
  addAndWait(name: string, data: T, options?: AddAndWaitOptions): Promise<R>;
  /**
   * Adds any number of jobs, in order, in atomic steps of 1 000. When a step fails the jobs of the others may have been added: give the jobs ids,
   * and adding them all again adds what is missing.
   */
  addBulk(
    jobs: {
      name: string;
      data: T;
      options?: JobOptions | undefined;
    }[],
  ): Promise<Job<T, R>[]>;
  /** The job of that id, or `null`. */
  getJob(id: string): Promise<Job<T, R> | null>;
  /**
   * Jobs of one or more states, one state after another: waiting ones in the order in which they will be served, delayed ones by the time they are
   * due, the others by the time they came into that state. A job that changes its state meanwhile may be missing or come twice.
   */
  list(state: JobState | JobState[], options?: ListOptions): Promise<Job<T, R>[]>;
  /** How many jobs are in each state, all of one moment. */
  counts(): Promise<Record<JobState, number>>;
  /** No worker of the fleet takes a job from now on; those in hand go on. */
  pause(): Promise<void>;
  /** Ends {@link pause}. */
  resume(): Promise<void>;
  /** Is the queue paused? */
  isPaused(): Promise<boolean>;
  /** Removes every waiting job, with `delayed` also the delayed ones. Gives how many. */
  drain(options?: { delayed?: boolean | undefined }): Promise<number>;
  /**
   * Removes finished jobs, oldest first. Gives how many.
   *
   * @param options `olderThanMs`: only those that finished at least so many milliseconds ago, default 0. `limit`: at most so many, default all.
   */
  clean(
    state: 'completed' | 'failed',
    options?: {
      olderThanMs?: number | undefined;
      limit?: number | undefined;
    },
  ): Promise<number>;
  /**
   * Puts failed jobs back to wait, their attempts counted anew, oldest first; at most `limit`, default all. A parent waits for those of its children that
   * have not completed. Gives how many.
   */
  retryFailed(options?: { limit?: number | undefined }): Promise<number>;
  /**
   * Removes the queue from Redis: its jobs, schedules, settings and events. Parents in other queues wait for its jobs no longer. Where it rejects, call it again.
   *
   * @param options `force`: also while jobs are active, whose attempts then lose their leases; without it that is kind `config`. Default false.
   */
  obliterate(options?: { force?: boolean | undefined }): Promise<void>;
  /**
   * Has a job added at each tick, exactly once in the whole fleet, for as long as any worker of the queue runs. Ticks that were missed meanwhile
   * are made up for by one. A schedule of that id is replaced; an unchanged one keeps its next tick.
   *
   * @param id 1 to 495 bytes without control characters.
   * @param when `everyMs`: from 1, counted from the time it is first given. `cron`: `minute hour day month weekday`, with seconds in front if there
   * are six fields, or a name such as `@daily`; in the zone `tz`, default UTC. Times of named hours that summer time leaves out are one tick right after
   * the gap, and tick once where they are repeated; a line of every hour goes on as an interval. The id of a tick's job is the schedule's id, a colon, and the tick in milliseconds.
   * @throws RedisError of kind `config`: a bad cron line with the position of the error, an unknown zone.
   */
  schedule(id: string, when: ScheduleTimes, job: ScheduledJob<T>): Promise<void>;
  /** All schedules, by their next tick. */
  schedules(): Promise<Schedule<T>[]>;
  /** Ends a schedule; the jobs it has added stay. `false`: there was none. */
  unschedule(id: string): Promise<boolean>;
  /**
   * Makes a worker, which runs `processor` on the queue's jobs.
   *
   * @throws RedisError of kind `config`, naming the option; `closed`.
   */
  process(processor: Processor<T, R>, options?: WorkerOptions): TaskWorker<T, R>;
  /**
   * Adds a listener. One that throws is reported as a process warning; it affects nobody else. The first one to an event of the fleet begins to
   * listen there: {@link ready} says when nothing is missed any more.
   */
  on<E extends keyof TaskQueueEvents<R>>(event: E, listener: (...args: TaskQueueEvents<R>[E]) => unknown): this;
  /** Removes a listener. With the last one to an event of the fleet the queue stops listening there. */
  off<E extends keyof TaskQueueEvents<R>>(event: E, listener: (...args: TaskQueueEvents<R>[E]) => unknown): this;
  /** Resolves when the listeners added so far hear everything that happens from then on. */
  ready(): Promise<void>;
  /**
   * Closes its workers (see {@link TaskWorker.close}), until when processors in hand may use the queue; then stops listening, ends waits with kind `closed`, and disconnects the manager if it is the
   * queue's own. Later calls share the first one's outcome, and may shorten its `graceMs`. What is in Redis stays.
   */
  close(options?: CloseOptions): Promise<void>;
  /** The same as {@link close}. */
  cleanup(): Promise<void>;
  /** The same as {@link close}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Claims: a slot of a worker, for a time. */

/** What is asked of a worker to be claimed. */
export interface ClaimRequest {
  /** It has every one of them. */
  capabilities?: string[] | undefined;
  type?: string | undefined;
  /** Milliseconds from 10 to 2 147 483 647 until the claim lapses, unless it is renewed. Default 30 000. */
  leaseMs?: number | undefined;
}
/** A claimed slot of a worker. */
export interface WorkerClaim {
  readonly workerId: string;
  /** The worker when it was claimed. */
  readonly worker: WorkerInfo;
  /** A fencing token: every later claim in this registry has a larger one. */
  readonly token: number;
  /**
   * Holds it for `leaseMs` from now. It is not renewed by itself.
   *
   * @param leaseMs Milliseconds from 10. Default: what it was claimed with.
   * @returns `false` if it had lapsed, or its worker crashed, left or was registered again.
   */
  renew(leaseMs?: number): Promise<boolean>;
  /** Gives the slot back; `false` if it was not held any more. */
  release(): Promise<boolean>;
  /** The same as {@link release}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Leading a role: one of all who want to, in the whole fleet. */

/** Options of {@link WorkerRegistry.elect}. */
export interface ElectOptions {
  /**
   * Milliseconds from 100 to 2 147 483 647: how long the role stays without a leader after this process is gone. While it lives the lease
   * is renewed every third of it, from Rust. Default 15 000.
   */
  leaseMs?: number | undefined;
  /** Milliseconds to wait for the role, then kind `timeout`, whatever the server does. 0: one attempt, as long as that takes. Default: without end. */
  waitMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. It does not touch a leadership that is held. */
  signal?: AbortSignal | undefined;
}
/** A role that this process leads. */
export interface Leadership {
  readonly role: string;
  /** The fencing token: whoever leads later has a larger one. Give it along with writes, and have the smaller one refused. */
  readonly token: number;
  /**
   * Aborted when the leadership is lost: its lease ran out unconfirmed, another one leads, or the manager was disconnected. Its
   * reason is a `RedisError` of kind `lease-lost`. It is not aborted by {@link resign}.
   */
  readonly signal: AbortSignal;
  /** Gives the role up; who waits for it is told. Idempotent. */
  resign(): Promise<void>;
  /** The same as {@link resign}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The worker registry: who works, how well, and who takes over when one is gone. */

/** Options of a {@link WorkerRegistry}. Unknown names are refused. Times are whole milliseconds up to 2 147 483 647. */
export interface WorkerRegistryOptions {
  /** A prefix of every key of this registry, inside the manager's namespace. Registries of one namespace are one. Default: none. */
  namespace?: string | undefined;
  /** Between two heartbeats of a worker, from 10. Default 5 000. */
  heartbeatIntervalMs?: number | undefined;
  /** Without a heartbeat for this long a worker is `degraded` (`late`). More than `heartbeatIntervalMs`. Default 2.5 times that. */
  degradedAfterMs?: number | undefined;
  /**
   * Without a heartbeat for this long a worker's time is up; it is declared `crashed` one `heartbeatIntervalMs` later, so that a heartbeat on
   * its way still counts. More than `degradedAfterMs`. Default 6 times `heartbeatIntervalMs`.
   */
  crashedAfterMs?: number | undefined;
  /** How long a crashed worker stays listed, from 0. Default 3 600 000, an hour. */
  forgetAfterMs?: number | undefined;
  /** An event loop that has not answered for this long is stalled, from 10. Default `heartbeatIntervalMs`. */
  stalledAfterMs?: number | undefined;
  /**
   * `true`: workers beat by themselves, from a Rust thread, and are registered again when their registration is over without their doing.
   * `false`: only `heartbeat()` does. Default true.
   */
  autoHeartbeat?: boolean | undefined;
  /**
   * When more than this part of the fleet falls due at once, and at least `stormMinimum` workers, that is taken for a fault of the network
   * or the server: their health is `unknown` for one `crashedAfterMs` and an interval, then they are declared crashed a few at a time (the
   * larger of `stormMinimum` and a hundredth of the fleet per interval). Above 0, up to 1 (never). Default 0.3.
   */
  stormShare?: number | undefined;
  /** A whole number from 1. Default 5. */
  stormMinimum?: number | undefined;
}
/**
 * Workers of a fleet: registered with what they can do, watched by their heartbeats, found, claimed, and reaped when they crash.
 *
 * - Time is the server's; clocks of workers and observers may differ by hours.
 * - Automatic heartbeats run on a Rust thread: they keep going while the event loop is blocked, and say so (`degraded`,
 *   `event-loop-stalled`) once it has been for `stalledAfterMs`. All workers of a registry beat in one call.
 * - Registering an id again starts a new `epoch`; the old holder's heartbeats are refused from then on, and it is told (`fenced`).
 * - A registered worker does not keep its process alive; a listener of a fleet event does, until it is removed or `cleanup()`.
 * - A process or worker thread that ends without `cleanup()` leaves its workers to be declared crashed, at once where there was time to say
 *   it, else when their time is up.
 * - Every method may reject with kind `connection`, `timeout`, `closed` or `overloaded`; a bad argument with `config`, naming it.
 */
export declare class WorkerRegistry {
  /**
   * Opens nothing, and starts nothing before a worker is registered or somebody listens.
   *
   * @throws RedisError of kind `config`, naming the option; both, where two contradict each other.
   */
  constructor(manager: IRedisConnection, options?: WorkerRegistryOptions);
  /**
   * Registers a worker, under a new epoch. If the id is registered, that registration is over. Asked again after a lost connection the
   * server gives the same answer, so a worker is never registered twice by one call.
   *
   * Where it rejects, no worker of it is left, or none that outlives its deadline; one of that id that this registry had goes on, under an epoch
   * of its own again if the server had ended it (`fenced`).
   *
   * @throws RedisError of kind `cancelled` if {@link unregister} of its id or {@link cleanup} was called before it was registered.
   */
  register(worker?: WorkerRegistration): Promise<WorkerInfo>;
  /**
   * Says that a worker of this registry is there, and what has changed of it. Calls made together travel together.
   *
   * @returns `false` if its registration is over, or this registry never made one: see `fenced`.
   */
  heartbeat(id: string, update?: HeartbeatUpdate): Promise<boolean>;
  /**
   * Notes what the next automatic heartbeat of a worker says, and sends nothing. A worker that this registry did not register is ignored.
   */
  report(
    id: string,
    now: {
      load?: number | undefined;
      degraded?: boolean | undefined;
    },
  ): void;
  /**
   * Declares a worker's status: that of a worker of this registry, or of any worker of the fleet that it never held.
   *
   * @returns `false` if it is not registered, crashed, or its registration by this registry is over: what a registry once held it touches by
   * its own epoch only.
   */
  setStatus(id: string, status: WorkerStatus): Promise<boolean>;
  /** A worker, or `null` if it is not registered; a crashed one is until it is forgotten. */
  get(id: string): Promise<WorkerInfo | null>;
  /** A worker's health; `unknown` if it was never registered, or is forgotten. */
  health(id: string): Promise<WorkerHealth>;
  /** Workers, in no particular order. Each that fits all the while is among them; what changes meanwhile may be or not. */
  list(filter?: WorkerFilter): Promise<WorkerInfo[]>;
  /** As {@link list}, with the position in the events from which {@link readEvents} tells everything that happened since. */
  snapshot(filter?: WorkerFilter): Promise<{
    workers: WorkerInfo[];
    position: string;
  }>;
  /**
   * What happened after `position`; about the last 10 000 events are kept.
   *
   * @param position As {@link snapshot} or an earlier call gave it. `0-0`: from the oldest that is kept.
   * @param options `limit`: at most so many, from 1 to 10 000. Default 1 000.
   * @returns The events in order, the position after them, and whether nothing between was trimmed.
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
  /** How many workers there are, by health. Its cost does not depend on how many, but on how many are due while nobody may judge. */
  count(): Promise<WorkerCount>;
  /**
   * Claims one slot of the least loaded healthy worker, `idle` or `busy`, that has every capability and a free slot. Load is claimed slots
   * by capacity, plus the load it reports; among equals the one claimed longest ago.
   *
   * @returns `null` if there is none now.
   */
  claim(request?: ClaimRequest): Promise<WorkerClaim | null>;
  /**
   * Ends a registration, and takes a crashed worker off the list. What is claimed of it is void. It may be of any worker of the fleet that this
   * registry never held, as an operator ends one; of an id that it holds or once held, it is its own registration that is ended, and
   * never that of whoever registered the id since. The newest 10 000 ids are remembered.
   *
   * @returns `false` if it was not registered, crashed already, or its registration by this registry is over.
   */
  unregister(id: string): Promise<boolean>;
  /**
   * The crashes that nobody was handed yet: each is handed to exactly one caller in the fleet, whoever noticed it, and whether the worker is
   * still listed or not. The newest 10 000 wait for a caller. If it rejects, what it may have been handed is given by this registry's next call,
   * within an hour.
   */
  reap(): Promise<WorkerInfo[]>;
  /**
   * Leaves a command for a worker anywhere in the fleet; its registry emits `command` with the worker's next heartbeat. Commands come in order,
   * and each once while the worker's process lives.
   *
   * @returns `false` if no such worker is registered, or this registry once held it and its registration is over.
   * @throws RedisError of kind `overloaded` if 100 commands wait for it.
   */
  send(id: string, command: WorkerCommand | WorkerCommand['name']): Promise<boolean>;
  /**
   * Waits until this process leads `role`: of all who want to in this registry's namespace, one does. Renewed from Rust until it resigns,
   * its process ends, or the connection is lost for longer than the lease. Waiting keeps the process alive; leading does not.
   *
   * @param role 1 to 1 024 bytes of any characters.
   */
  elect(role: string, options?: ElectOptions): Promise<Leadership>;
  /**
   * Adds a listener. Those of fleet events (`joined`, `left`, `status`, `degraded`, `recovered`, `crashed`) are told of every worker of
   * the fleet, in order, also of what happened in this process. What happens after this call is told, once {@link ready} resolves; it
   * keeps the process alive. A listener that throws or rejects is reported as a process warning; it affects nobody else.
   */
  on<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this;
  /** Removes a listener. */
  off<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this;
  /** Adds a listener for the next time only. */
  once<E extends keyof RegistryEvents>(event: E, listener: (...args: RegistryEvents[E]) => unknown): this;
  /**
   * Resolves when the listeners of fleet events miss nothing from then on; at once where there is none. Rejects if that cannot be so yet: it is
   * tried again by itself, and another call waits for the next attempt.
   */
  ready(): Promise<void>;
  /**
   * Unregisters this registry's workers, resigns what it leads, removes its listeners and ends what it runs. What it has claimed elsewhere
   * is left to its leases. Idempotent; afterwards it can be used again.
   */
  cleanup(): Promise<void>;
  /** The same as {@link cleanup}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * The public classes as interfaces: what a function takes that should work with a test double too. A class that `implements` one, or any object
 * that has its members, is one without a cast.
 */

/** The names of the members of `T` that do not give `this`. */
type MembersOf<T> = Exclude<keyof T, 'on' | 'off' | 'once'>;
/** Adding and removing listeners; each of them gives the object itself. */
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
/** The members of a {@link TaskQueue}. */
export interface ITaskQueue<T = unknown, R = unknown>
  extends Pick<TaskQueue<T, R>, MembersOf<TaskQueue<T, R>>>,
    Emitting<TaskQueueEvents<R>> {}
/** The members of a {@link WorkerRegistry}. */
export interface IWorkerRegistry extends Pick<WorkerRegistry, MembersOf<WorkerRegistry>>, Emitting<RegistryEvents> {
  /** As of the class. */
  once<K extends keyof RegistryEvents>(event: K, listener: (...args: RegistryEvents[K]) => unknown): this;
}

/**
 * The client that BullMQ 5.77 and later, and 6, take in place of one of ioredis: their `IRedisClient`, written out, so that nothing of
 * BullMQ is imported.
 */

/** What {@link BullMQClient.duplicate} takes. */
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
 * It connects by itself, as the clients that BullMQ's users know. Its `status` is `wait` before it is connected, `connecting`, `ready`, `reconnecting` or `end`. Its events are `ready`, `close` (the
 * connection is gone), `reconnecting`, `end` (and will not come back by itself) and `error`, which is never thrown.
 *
 * A call that the loss or the lack of a connection has spoilt rejects with a `RedisError` of kind `connection`, `timeout`, `closed` or
 * `overloaded` whose message is `Connection is closed.`, by which BullMQ knows that it may try again; so does {@link connect} whatever
 * has gone wrong. `cause` says what happened.
 */
export interface BullMQClient {
  status: string;
  readonly isCluster: boolean;
  options: Record<string, unknown>;
  /**
   * Connects. It goes on trying until a server is there, as BullMQ, which asks only once, expects of a client; it ends with kind
   * `closed` when the manager or this client is disconnected, and at once with kind `auth` or `tls`, which waiting does not mend. A client that has ended before tries once. A manager that the user
   * has disconnected is not connected again.
   */
  connect(): Promise<void>;
  /** Ends this client; the manager and other clients stay as they are. A duplicate closes its own connection; with `true` it opens another. */
  disconnect(reconnect?: boolean): void;
  /** Ends this client as {@link disconnect} does, and resolves when it has ended; `close` and `end` come after that. */
  quit(): Promise<string>;
  /** A client that has a connection of its own for blocking commands; everything else it sends goes over the manager's. */
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
  /** Makes a script known under `name`, here and in every duplicate made from now on. */
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
  set(
    key: string,
    value: string | number,
    options?: {
      PX?: number | undefined;
      EX?: number | undefined;
    },
  ): Promise<string | null>;
  /** Without keys it does nothing and gives 0. */
  del(...keys: string[]): Promise<number>;
  zrange(
    key: string,
    start: number,
    end: number,
    options?: {
      WITHSCORES?: boolean | undefined;
    },
  ): Promise<string[]>;
  zrevrange(
    key: string,
    start: number,
    end: number,
    options?: {
      WITHSCORES?: boolean | undefined;
    },
  ): Promise<string[]>;
  zcard(key: string): Promise<number>;
  zscore(key: string, member: string): Promise<string | null>;
  lrange(key: string, start: number, end: number): Promise<string[]>;
  llen(key: string): Promise<number>;
  ltrim(key: string, start: number, end: number): Promise<string>;
  lpos(key: string, value: string): Promise<number | null>;
  smembers(key: string): Promise<string[]>;
  /** With `MAXLEN` the stream is cut to about that many entries, to exactly as many where `approximate` is `false`. */
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
   * Gives `[stream, [id, [field, value, …]][]][]`, or `null` where there is nothing.
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
  xtrim(
    key: string,
    strategy: 'MAXLEN',
    threshold: number,
    options?: {
      approximate?: boolean | undefined;
    },
  ): Promise<number>;
  /** @param timeout In seconds, fractions allowed; 0 waits for ever. */
  bzpopmin(key: string, timeout: number): Promise<[key: string, member: string, score: string] | null>;
  /**
   * Any command of Redis, by its name. At runtime each is a method too, in lower case and with the server's order of arguments, as the
   * clients of ioredis have them: `client.xlen(key)`. A command that would change the shared connection is no method, and refused here.
   */
  call(name: string, ...args: unknown[]): Promise<unknown>;
  info(): Promise<string>;
  /** Names a duplicate's own connection. The shared connection keeps the manager's `clientName`. */
  clientSetName(name: string): Promise<string>;
  clientList(): Promise<string>;
  clientInfo(): Promise<string>;
  scan(
    cursor: string | number,
    options: {
      MATCH?: string | undefined;
      COUNT?: number | undefined;
    },
  ): Promise<[string, string[]]>;
  /** Keys in batches. */
  scanStream(options: { match: string; count?: number | undefined }): Readable;
  /** In a cluster: where to ask for the list of clients. */
  nodes?(): BullMQClient[];
}
/** Entries by stream. */
export type BullMQStreams = [stream: string, entries: [id: string, fields: string[]][]][];
/** What became of one command: its error, or its result. */
export type BullMQResult = [error: Error | null, result: unknown];
/** Commands that {@link exec} sends. */
export interface BullMQTransaction {
  hgetall(key: string): this;
  hset(key: string, data: BullMQFields): this;
  /** Gives the next cursor, and fields and values in turn. */
  hscan(
    key: string,
    cursor: string | number,
    options?: {
      COUNT?: number | undefined;
    },
  ): this;
  smembers(key: string): this;
  /** Gives the next cursor, and members. */
  sscan(
    key: string,
    cursor: string | number,
    options?: {
      COUNT?: number | undefined;
    },
  ): this;
  zrange(key: string, start: number, end: number): this;
  lrange(key: string, start: number, end: number): this;
  llen(key: string): this;
  /** Without keys it adds nothing. */
  del(...keys: string[]): this;
  runCommand(name: string, args: readonly unknown[]): this;
  /** What became of each command, in order. */
  exec(): Promise<BullMQResult[] | null>;
}

/** The options that BullMQ gives to ioredis. */
/** TLS as `node:tls` takes it; certificates and keys are PEM. */
export interface BullMQTlsOptions {
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
}
/** Where a server is and how to talk to it, in the words of ioredis. What is not given is not there. */
export interface BullMQOptions {
  host?: string;
  port?: number;
  /** The path of a Unix socket, in place of `host` and `port`. */
  path?: string;
  db?: number;
  username?: string;
  password?: string;
  tls?: BullMQTlsOptions;
  /** In place of `host` and `port`, with `name`. */
  sentinels?: {
    host: string;
    port: number;
  }[];
  /** What the sentinels call the master. */
  name?: string;
  /** `addressMap` in the words of ioredis. */
  natMap?: Record<
    string,
    {
      host: string;
      port: number;
    }
  >;
  sentinelUsername?: string;
  sentinelPassword?: string;
  sentinelTLS?: BullMQTlsOptions;
  enableTLSForSentinelMode?: boolean;
  /** Milliseconds. */
  connectTimeout?: number;
  /** Milliseconds. */
  keepAlive?: number;
  /** Commands wait for a connection as long as it takes, which BullMQ's workers demand. */
  maxRetriesPerRequest: null;
}

/** BullMQ beside this package: on its connections, or on its own with the same configuration. */

/**
 * A client for BullMQ on the connections of `manager`: `new Queue('paint', { connection: bullmqConnection(manager) })`. For BullMQ
 * 5.77 and later, and 6; neither `ioredis` nor `redis` need be installed for 6.
 *
 * One client serves any number of queues, workers and the rest. Whatever does not block goes over the manager's one connection. Each
 * `Worker` and each `QueueEvents` makes a duplicate, which keeps one connection of its own for its blocking reads. `close()` of a
 * worker closes that; the manager is the caller's to disconnect, after everything of BullMQ is closed.
 *
 * The manager's `namespace` is not put before BullMQ's keys: BullMQ has its own option `prefix`. In a cluster give it a hash tag,
 * such as `prefix: '{paint}'`.
 *
 * What the loss of a connection spoils rejects with a `RedisError` whose message is `Connection is closed.`: by that BullMQ knows
 * that it may try again. `cause` says what happened, `delivery` whether the server may have executed it.
 *
 * @throws RedisError of kind `config` for something that is no manager.
 */
export declare function bullmqConnection(manager: IRedisConnection): BullMQClient;
/**
 * Options with which BullMQ, from version 4 on, makes connections of its own to the server of `manager` through ioredis:
 * `new Queue('paint', { connection: bullmqOptions(manager) })`.
 *
 * They hold the password in the clear, since BullMQ's own client needs it: it is the one call by which a secret leaves this package.
 * Nothing else of the manager is in them: not its namespace, its deadlines or its limits. `maxRetriesPerRequest` is `null`, as BullMQ's
 * workers demand.
 *
 * @throws RedisError of kind `config` for what such options cannot say: `memory://`, a cluster, a password that is a function (it
 * would be asked once instead of at every connection). {@link bullmqConnection} serves all of these.
 */
export declare function bullmqOptions(manager: IRedisConnection): BullMQOptions;

/** Requests and their replies. */

/** The error of a responder, as its requester gets it: of kind `server`, with the responder's own name, message and code. */
export declare class ResponderError extends RedisError {
  /** The name of the responder's error: `TypeError`, `OrderNotFound`, … */
  readonly remoteName: string;
  /** The `code` of the responder's error, if it had one. */
  readonly remoteCode?: string | undefined;
  constructor(message: string, remoteName: string, remoteCode?: string);
  /** True for one of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}

/** Everything a service does with Redis, put together on one manager and ended in order. */

/** Starts something that runs on a container, and gives what ends it, which is waited for and may give anything. */
export type Coordinator = (container: Container) => (() => unknown) | Promise<() => unknown>;
/** Options of {@link createContainer}. Unknown names are refused. */
export interface ContainerOptions {
  /** Where Redis is; wins over `redis.url`. Default: what the environment says, see `redisConfigFromEnv`. */
  redisUrl?: string | URL | undefined;
  redis?: RedisConfig | undefined;
  /** The prefix of everything; wins over `redis.namespace`. */
  redisNamespace?: string | undefined;
  /** Options of the bus. */
  bus?: MessageBusOptions | undefined;
  /** Options of the registry. */
  registry?: WorkerRegistryOptions | undefined;
  /** Options of every queue. */
  queue?: TaskQueueOptions | undefined;
  /**
   * Started after the rest, one after another, and stopped first, in the opposite order. `false` is left out; `true` is for those that
   * are built in: `sweeper` notices crashed workers also where this process has none and listens to none.
   */
  coordinators?: Record<string, boolean | Coordinator> | undefined;
  /**
   * Milliseconds that `shutdown()` waits for all coordinators together, and as long again for all parts; then it goes on without them.
   * Jobs in hand have the second time but for its last fifth, at most 2 s; those left then are handed back in it. From 0. Default 10 000.
   */
  shutdownTimeoutMs?: number | undefined;
}
/**
 * Whether each part answers. `ok`: all of them do. `redis`: the manager's `health()` is `ok` and `writable`, so that the whole key space is
 * served and writes are taken. A queue that was asked for is `queue:` and its name.
 */
export interface ContainerHealth {
  ok: boolean;
  redis: boolean;
  bus: boolean;
  kv: boolean;
  registry: boolean;
  [part: string]: boolean;
}
/** The parts of a service, on one manager. */
export interface Container {
  /** The manager under everything. */
  readonly manager: IRedisConnection;
  getBus(): IMessageBus;
  getKV(): IKVStore;
  getRegistry(): IWorkerRegistry;
  /** The queue of that name, the same each time. */
  getQueue<T = unknown, R = unknown>(name: string): ITaskQueue<T, R>;
  /** Asks each part. Never rejects; bounded by the manager's `commandTimeoutMs`. */
  health(): Promise<ContainerHealth>;
  /**
   * Stops the coordinators, closes the queues with their workers and then the bus, unregisters the workers of the registry, ends the
   * connections. Idempotent and bounded: see `shutdownTimeoutMs`. Rejects, when all of that is done, with what went wrong: the error, or an
   * `AggregateError` of several. Jobs that were handed back are nothing that went wrong.
   */
  shutdown(): Promise<void>;
  /** The same as {@link shutdown}. */
  [Symbol.asyncDispose](): Promise<void>;
}
/**
 * Connects, and puts the parts together. If anything fails, what was begun is ended again.
 *
 * @throws RedisError what `connect()` rejects with; kind `disabled` if neither `redis` nor `redisUrl` is given and the environment
 * says that Redis is off, see `redisConfigFromEnv`; `config`, naming the option; and what a coordinator rejects with.
 */
export declare function createContainer(options?: ContainerOptions): Promise<Container>;

/** Doing a thing once, however many ask for it. */

/** Options of {@link once}. */
export interface OnceOptions {
  /** Milliseconds that `fn` may take, from 1 to 2 147 483 647. Default 600 000, which is ten minutes. */
  timeoutMs?: number | undefined;
}
/**
 * Runs `fn` unless somebody runs it now or has run it less than `ttlSec` ago. Of any number of concurrent callers, in any number of
 * processes, exactly one runs it; the others get `null` at once.
 *
 * The key holds an opaque token from the begin of `fn` until `ttlSec` after its success. While `fn` runs the token is renewed from a
 * Rust thread, so an `fn` that takes longer than `ttlSec`, or blocks the event loop, is not run twice. If `fn` fails the key is free
 * again. If its process dies the key is free at most `ttlSec`, or a second where that is longer, later: `fn` may have done its work or not. The result is not stored.
 *
 * An `fn` that takes longer than `timeoutMs` counts as one whose process died: the caller gets kind `timeout`, what `fn` still gives is
 * dropped, and the key is free at most `ttlSec` (or a second) later. `once` of the same key within `fn` gives `null`, as to everyone else.
 *
 * @param key As for every method of the store.
 * @param ttlSec Seconds, fractions allowed, above 0.
 * @returns What `fn` gives, or `null` if this caller did not run it. A success whose token could not be renewed once more because the
 * server was away is still a success: the key is free `ttlSec` after the last renewal then.
 * @throws What `fn` throws; RedisError of kind `config`, `connection`, `timeout`, … if the key could not be taken: `fn` did not run;
 * `timeout`, delivery `maybe-executed`, if it took too long.
 */
export declare function once<T>(
  kv: IKVStore,
  key: string,
  fn: () => Promise<T> | T,
  ttlSec: number,
  options?: OnceOptions,
): Promise<T | null>;
/**
 * Says whether an event is seen for the first time, and remembers it for `ttlSec`. Atomic: of any number of concurrent callers exactly
 * one gets `true`. The key is `seen:${eventId}`, in the store's namespace; a part of the id, at its start or after a colon, that begins
 * with `~` has `%7E` instead.
 *
 * An event that was seen by a process that then died is not handled by anyone else: use {@link once} where it must be.
 *
 * @param eventId Not empty, at most 1 MiB.
 * @param ttlSec Seconds, fractions allowed, above 0.
 * @throws RedisError of kind `config`, `connection`, `timeout`, …
 */
export declare function deduplicateEvent(kv: IKVStore, eventId: string, ttlSec: number): Promise<boolean>;

/** A test's control of an embedded engine. */
/**
 * Control of the engine behind `memory://name`. Every call is synchronous: when it returns, what it did is visible. All throw a
 * `RedisError` of kind `closed` when nothing is connected to an engine of that name.
 */
export interface MemoryControl {
  /** Lets `ms` milliseconds pass, on the engine's clock: keys expire and waits time out before this returns. */
  advance(ms: number): void;
  /**
   * Sets the engine's clock forward or, below 0, back by `ms` milliseconds, up to 2 147 483 647: as an administrator or a time service sets that of
   * a server. No time has passed, but what goes by the clock takes it for that.
   */
  setClock(ms: number): void;
  /** Stops the engine from reading and executing anything, as a frozen server would. */
  pause(): void;
  /** Lets a paused engine go on with what has been sent meanwhile. */
  resume(): void;
  /** Executes the next `n` commands, loses their replies and cuts their connections. */
  dropReplies(n: number): void;
  /** Cuts every connection. The data waits a minute for somebody to reconnect. */
  killClients(): void;
  /** Delays every reply by `ms` milliseconds of real time; 0 ends it. */
  latency(ms: number): void;
  /** Refuses writes with `READONLY`, as a replica after a failover does. */
  readonly(on: boolean): void;
  /** Deletes every key of every database. */
  flush(): void;
  /** Bounds the estimated memory in bytes, beyond which writes get Redis' `OOM` error; 0 takes the bound away. */
  maxMemory(bytes: number): void;
  /** Every key, ordered by database and name; `ttl` in milliseconds. */
  dump(): MemoryEntry[];
}
/** A key of an embedded engine. */
export interface MemoryEntry {
  db: number;
  key: string;
  type: string;
  ttl: number | null;
  value: unknown;
}
/** Control of the engine behind `memory://name`, for tests. */
export declare function memoryControl(name: string): MemoryControl;

/** What a processor throws to say more than that it failed, and what a waiting producer is told. */
/** Thrown by a processor, it fails the job at once, whatever attempts are left. */
export declare class UnrecoverableError extends Error {
  constructor(
    message?: string,
    options?: {
      cause?: unknown;
    },
  );
  /** True for one of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}
/** Thrown by a processor, it puts the job back for `delayMs` milliseconds without using up an attempt. */
export declare class DelayError extends Error {
  /** Milliseconds. */
  readonly delayMs: number;
  /**
   * @param delayMs A whole number of milliseconds, from 0 to 3 155 760 000 000 (100 years).
   * @throws RedisError of kind `config`.
   */
  constructor(delayMs: number);
  /** True for one of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}
/** What {@link Job.waitUntilFinished} rejects with when the job failed for good; its message is the job's `failedReason`. */
export declare class JobFailedError extends Error {
  /** The job's id. */
  readonly jobId: string;
  constructor(jobId: string, failedReason: string);
  /** True for one of any copy of this package, in any VM context. */
  static [Symbol.hasInstance](value: unknown): boolean;
}

/** Trying again, with growing delays. */
/** Options of {@link retry}. */
export interface RetryOptions {
  /** Attempts in all, the first included: a whole number from 1. Default 3. */
  maxAttempts?: number | undefined;
  /** Milliseconds before the second attempt, from 0. Default 100. */
  minDelayMs?: number | undefined;
  /** Milliseconds that no delay exceeds, from `minDelayMs`. Default 10 000. */
  maxDelayMs?: number | undefined;
  /** By what each delay grows over the one before, from 1 to 100. Default 2. */
  factor?: number | undefined;
  /** Draw each delay at random between `minDelayMs` and what it would be, so that many callers come apart. Default true. */
  jitter?: boolean | undefined;
  /** May it be tried again after this error? Default: not after a `RedisError` whose `retryable` is false. */
  shouldRetry?: ((error: unknown) => boolean) | undefined;
  /** Ends the wait between attempts, with kind `cancelled`. An attempt that runs is left to end. */
  signal?: AbortSignal | undefined;
}
/**
 * Calls `fn` until it succeeds, `maxAttempts` times at most, with exponential backoff and jitter in between.
 *
 * It asks nothing about what `fn` may have done already: a `RedisError` whose `delivery` is `maybe-executed` is tried again too, so
 * give it what may be done twice, or say no in `shouldRetry`.
 *
 * @param fn Given the number of the attempt, from 1.
 * @returns What `fn` gives.
 * @throws The error of the last attempt, as it is; RedisError of kind `cancelled` when `signal` was aborted before or between attempts;
 * `config` for a bad option.
 */
export declare function retry<T>(fn: (attempt: number) => Promise<T> | T, options?: RetryOptions): Promise<T>;

/** Ending well when the process is told to. Nothing installs a signal handler by itself: this is the one way to. */
/** Options of {@link shutdownOnSignals}. */
export interface ShutdownSignals {
  /** Default `SIGTERM` and `SIGINT`. */
  signals?: NodeJS.Signals[] | undefined;
  /** Told what `shutdown()` rejected with; the process ends all the same. Default: a process warning. */
  onError?: ((error: unknown) => unknown) | undefined;
}
/**
 * Has `container.shutdown()` called at the first of the signals, and the process end by that signal afterwards, so that whoever sent it sees
 * what it expects. A second signal meanwhile ends the process at once. Where the signal itself does not end it, as with the first process of a
 * container image, it exits with 128 and the signal's number.
 *
 * @param container Anything with a `shutdown()`.
 * @returns Takes the handlers away again.
 * @throws RedisError of kind `config`, naming the option; then no handler is installed.
 */
export declare function shutdownOnSignals(
  container: {
    shutdown(): Promise<unknown>;
  },
  options?: ShutdownSignals,
): () => void;

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
export declare function makeRedisSuite(url: string | URL | RedisConfig): Promise<RedisSuite>;

export {};
