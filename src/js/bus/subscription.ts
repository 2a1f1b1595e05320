/** A live subscription: one handler, its waiting messages, and its running calls. */

import { onAbort } from '../aborts.js';
import { cancelled } from '../arguments.js';
import { RedisError } from '../errors.js';
import { withoutScope } from '../scope.js';
import type { Feed, Feeds, Subscriber } from './feed.js';
import type { Done, HandlerCall, Handling } from './handling.js';
import type { BusInternals, Member } from './internals.js';
import type { Bounds, MessageContext, Unsubscribe } from './options.js';
import { Pending } from './pending.js';
import { handlersEnded, unsubscribeBy } from './unsubscribing.js';
import type { Arrival, Decoded } from './wire.js';

/** The options of a live subscription, checked. */
export interface LiveOptions {
  readonly bounds: Bounds;
  readonly concurrency?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `true`: only requests are handled; other messages of the topic are ignored. */
  readonly requests?: boolean | undefined;
}

/** The reply topics of requests, by the context of the request's handler. */
const replies = new WeakMap<MessageContext, string>();

/** The topic on which the requester of `context` awaits its reply. */
export function replyOf(context: MessageContext): string | undefined {
  return replies.get(context);
}

/** The context of a handler of live messages. */
class LiveContext implements MessageContext {
  readonly topic: string;
  readonly attempt: number;
  declare readonly key?: string | undefined;
  declare readonly pattern?: string | undefined;
  declare readonly signal: AbortSignal;

  constructor(topic: string, pattern: string | undefined, decoded: Decoded) {
    this.topic = topic;
    this.attempt = decoded.envelope.attempts + 1;
    if (decoded.key !== undefined) this.key = decoded.key;
    if (pattern !== undefined) this.pattern = pattern;
    if (decoded.reply !== undefined) replies.set(this, decoded.reply);
  }
}

/** The class of the contexts of one subscription. The common `signal` is a getter of its prototype, so it costs nothing for each message. */
function contextsOf(subscription: LiveSubscription): typeof LiveContext {
  class Context extends LiveContext {}
  Object.defineProperty(Context.prototype, 'signal', { get: () => subscription.signal });
  return Context;
}

export class LiveSubscription implements Subscriber, Member {
  readonly bounds: Bounds;
  readonly pattern: string | undefined;
  readonly #bus: BusInternals;
  readonly #handling: Handling;
  readonly #topic: string;
  readonly #concurrency: number;
  readonly #requests: boolean;
  readonly #pending: Pending;
  readonly #Context = contextsOf(this);
  readonly #startBatch = (): void => this.#startAll();
  readonly #done: Done = (call, failure) => this.#ended(call, failure);
  #feed: Feed | undefined;
  /** Settles when the server has confirmed the end of the subscription. */
  #unsubscribed: Promise<void> | undefined;
  #controller: AbortController | undefined;
  #isOver = false;
  #starting = false;
  #runningBytes = 0;
  /** How many handlers were started since the count was last added to the bus' counts. */
  #delivered = 0;
  #forget: () => void = () => {};

  constructor(bus: BusInternals, topic: string, isPattern: boolean, handling: Handling, options: LiveOptions) {
    this.#bus = bus;
    this.#handling = handling;
    this.#topic = topic;
    this.pattern = isPattern ? topic : undefined;
    this.bounds = options.bounds;
    this.#concurrency = options.concurrency ?? options.bounds.maxPending;
    this.#requests = options.requests ?? false;
    this.#pending = new Pending(options.bounds);
  }

  /** Aborted when the subscription ends. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isOver) this.#controller.abort(endedError());
    }
    return this.#controller.signal;
  }

  /** Joins the feed, and resolves when the server has confirmed the subscription. */
  async begin(feeds: Feeds, signal: AbortSignal | undefined): Promise<Unsubscribe> {
    const feed = feeds.join(this.#topic, this.pattern !== undefined, this);
    this.#feed = feed;
    this.#bus.members.add(this);
    let abort: () => void = () => {};
    const aborted = new Promise<void>((resolve) => {
      abort = (): void => {
        resolve();
        void this.end();
      };
    });
    this.#forget = onAbort(signal, abort);
    try {
      await Promise.race([feed.confirmed, aborted]);
    } catch (error) {
      this.#stop();
      this.#bus.members.delete(this);
      throw error;
    }
    if (signal?.aborted) throw cancelled('MessageBus.subscribe', signal);
    if (this.#isOver) throw new RedisError('closed', 'MessageBus.subscribe: the subscription ended before the server had confirmed it');
    return unsubscribeBy(() => this.#unsubscribe());
  }

  take(arrivals: Arrival[]): void {
    if (this.#isOver) return;
    for (const arrival of arrivals) this.#pending.add(arrival);
    this.#startMore();
    const dropped = this.#pending.trim();
    if (dropped > 0) this.#feed?.dropped(dropped);
  }

  ended(error: RedisError): void {
    this.#stop(error);
    this.#bus.members.delete(this);
  }

  async end(): Promise<void> {
    this.#stop();
    await handlersEnded(this.#bus, this.#handling, this.#topic);
    this.#bus.members.delete(this);
  }

  /** Ends the subscription, and resolves when the server has confirmed the end. */
  async #unsubscribe(): Promise<void> {
    await this.end();
    await this.#unsubscribed;
  }

  #stop(why: RedisError = endedError()): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pending.clear();
    this.#forget();
    this.#unsubscribed = this.#feed?.leave(this);
    this.#controller?.abort(why);
  }

  #startMore(): void {
    if (this.#starting || this.#pending.isEmpty || !this.#hasRoom()) return;
    this.#handling.batch(this.#startBatch);
    if (this.#delivered === 0) return;
    this.#bus.counts.delivered += this.#delivered;
    this.#delivered = 0;
    this.#bus.counted();
  }

  /** May another handler start? A single message may be larger than the bound. */
  #hasRoom(): boolean {
    return this.#handling.running < this.#concurrency && (this.#runningBytes < this.bounds.maxPendingBytes || this.#handling.running === 0);
  }

  #startAll(): void {
    this.#starting = true;
    try {
      this.#startWhileRoom();
    } finally {
      this.#starting = false;
    }
  }

  #startWhileRoom(): void {
    while (this.#hasRoom()) {
      const arrival = this.#pending.next();
      if (arrival === undefined) break;
      const decoded = arrival.read();
      if (decoded === undefined) {
        withoutScope(() => this.#feed?.malformed(arrival));
        continue;
      }
      if (this.#requests && decoded.reply === undefined) continue;
      this.#delivered++;
      const call = this.#handling.start(decoded.envelope, new this.#Context(arrival.topic, this.pattern, decoded), this.#done);
      if (!call.ended) {
        call.size = arrival.size;
        this.#runningBytes += arrival.size;
      }
    }
  }

  #ended(call: HandlerCall, failure: { error: unknown } | undefined): void {
    this.#runningBytes -= call.size;
    if (failure !== undefined) {
      const { envelope, context } = call;
      const about = { topic: context.topic, ...(this.pattern !== undefined && { pattern: this.pattern }) };
      this.#bus.failed({ ...about, envelopeId: envelope.id, corrId: envelope.corrId, error: failure.error });
    }
    this.#startMore();
  }
}

function endedError(): RedisError {
  return new RedisError('closed', 'the subscription has ended');
}
