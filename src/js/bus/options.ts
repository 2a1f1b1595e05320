/** What a caller may say to a bus, and its checks. */

import { checkSignal, checkWhole, MAX_MS, optionsOf, refuseUnknown } from '../arguments.js';
import { configError } from '../errors.js';
import type { IRedisConnection } from '../ports.js';
import { checkTraceparent, MAX_NAME } from '../scope.js';

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
  retention?: { maxLength?: number | undefined; maxBytes?: number | undefined; maxAgeMs?: number | undefined } | undefined;
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
  retry?: { maxAttempts?: number | undefined; minDelayMs?: number | undefined; maxDelayMs?: number | undefined } | undefined;
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
export type Unsubscribe = (() => Promise<void>) & { [Symbol.asyncDispose](): Promise<void> };

/** What may wait. */
export interface Bounds {
  readonly maxPending: number;
  readonly maxPendingBytes: number;
}

const LIVE = ['concurrency', 'maxPending', 'maxPendingBytes', 'group', 'signal'] as const satisfies (keyof SubscribeOptions)[];
const DURABLE = ['from', 'retry', 'claimAfterMs', 'timeoutMs'] as const satisfies (keyof SubscribeOptions)[];

/** A topic; what it may be made of is judged in Rust. */
export function checkTopic(name: string, topic: unknown): void {
  if (typeof topic !== 'string' || topic === '' || topic.length > 1024 || !topic.isWellFormed())
    throw configError(name, 'a well-formed string of 1 to 1024 bytes', topic);
}

/** The bounds that are given, or those of the bus. */
export function boundsOf(owner: string, given: Partial<Bounds>, standard: Bounds): Bounds {
  const { maxPending = standard.maxPending, maxPendingBytes = standard.maxPendingBytes } = given;
  checkWhole(`${owner}.maxPending`, maxPending, 1);
  checkWhole(`${owner}.maxPendingBytes`, maxPendingBytes, 1);
  return { maxPending, maxPendingBytes };
}

/** Options of a subscription. Those beside a `group` are judged in Rust, but for the signal. */
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
    if (options[name] !== undefined) throw configError(`${owner}.${name}`, 'group beside it', options[name]);
  }
}

/** Options of a publication, checked. */
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
