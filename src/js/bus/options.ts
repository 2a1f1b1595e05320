/** The options of the bus and their checks. */

import { checkSignal, checkWhole, MAX_MS, optionsOf, refuseUnknown } from '../arguments.js';
import { configError } from '../errors.js';
import type { IRedisConnection } from '../ports.js';
import { checkTraceparent, MAX_NAME } from '../scope.js';

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
  retention?: { maxLength?: number | undefined; maxBytes?: number | undefined; maxAgeMs?: number | undefined } | undefined;
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
  retry?: { maxAttempts?: number | undefined; minDelayMs?: number | undefined; maxDelayMs?: number | undefined } | undefined;
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
export type Unsubscribe = (() => Promise<void>) & { [Symbol.asyncDispose](): Promise<void> };

/** The bounds on waiting messages. */
export interface Bounds {
  readonly maxPending: number;
  readonly maxPendingBytes: number;
}

const LIVE = ['concurrency', 'maxPending', 'maxPendingBytes', 'group', 'signal'] as const satisfies (keyof SubscribeOptions)[];
const DURABLE = ['from', 'retry', 'claimAfterMs', 'timeoutMs'] as const satisfies (keyof SubscribeOptions)[];

/** Checks that `topic` is a well-formed string. Rust checks its characters. */
export function checkTopic(name: string, topic: unknown): void {
  if (typeof topic !== 'string' || topic === '' || topic.length > 1024 || !topic.isWellFormed())
    throw configError(name, 'a well-formed string of 1 to 1024 bytes', topic);
}

/** The given bounds. The bounds of the bus replace missing bounds. */
export function boundsOf(owner: string, given: Partial<Bounds>, standard: Bounds): Bounds {
  const { maxPending = standard.maxPending, maxPendingBytes = standard.maxPendingBytes } = given;
  checkWhole(`${owner}.maxPending`, maxPending, 1);
  checkWhole(`${owner}.maxPendingBytes`, maxPendingBytes, 1);
  return { maxPending, maxPendingBytes };
}

/** Checks the options of a subscription. Rust checks the options of a durable subscription, except the signal. */
export function subscribeOptions(owner: string, given: SubscribeOptions | undefined): SubscribeOptions {
  const options: SubscribeOptions = optionsOf(`${owner}: options`, given);
  checkSignal(`${owner}.signal`, options.signal);
  if (options.group === undefined) checkLive(owner, options);
  return options;
}

function checkLive(owner: string, options: SubscribeOptions): void {
  const rest: Record<string, unknown> = { ...options };
  for (const name of [...LIVE, ...DURABLE]) delete rest[name];
  refuseUnknown(owner, rest, [...LIVE, ...DURABLE]);
  if (options.concurrency !== undefined) checkWhole(`${owner}.concurrency`, options.concurrency, 1);
  for (const name of DURABLE) {
    if (options[name] !== undefined) throw configError(`${owner}.${name}`, 'the option group too', options[name]);
  }
}

/** Checks the options of a publication. */
export function publishOptions(given: PublishOptions): PublishOptions {
  const { key, durable, traceparent, id, dedupeMs, ...rest } = optionsOf('MessageBus.publish: options', given) as PublishOptions;
  refuseUnknown('MessageBus.publish', rest, ['key', 'durable', 'traceparent', 'id', 'dedupeMs']);
  if (key !== undefined && (typeof key !== 'string' || key === '' || key.length > 1024 || !key.isWellFormed())) {
    throw configError('MessageBus.publish: key', 'a well-formed string of 1 to 1024 characters', key);
  }
  if (durable !== undefined && typeof durable !== 'boolean') throw configError('MessageBus.publish: durable', 'true or false', durable);
  checkTraceparent('MessageBus.publish: traceparent', traceparent);
  if (id !== undefined && (typeof id !== 'string' || id === '' || id.length > MAX_NAME || !id.isWellFormed())) {
    throw configError('MessageBus.publish: id', `a well-formed string of 1 to ${MAX_NAME} characters`, id);
  }
  if (dedupeMs !== undefined) checkWhole('MessageBus.publish: dedupeMs', dedupeMs, 1, MAX_MS);
  if ((id !== undefined || dedupeMs !== undefined) && durable !== true) {
    throw configError('MessageBus.publish: durable', 'true beside id or dedupeMs', durable);
  }
  return { key, durable, traceparent, id, dedupeMs };
}
