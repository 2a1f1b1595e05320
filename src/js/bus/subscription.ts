/** A live subscription: one handler, what waits for it and what it has in hand. */

import { onAbort } from '../aborts.js';
import { cancelled } from '../arguments.js';
import { RedisError } from '../errors.js';
import { apart } from '../scope.js';
import type { Feed, Feeds, Subscriber } from './feed.js';
import type { Done, Hand, Handling } from './handling.js';
import type { BusInternals, Member } from './internals.js';
import type { Bounds, MessageContext, Unsubscribe } from './options.js';
import { Pending } from './pending.js';
import { left, unsubscribeBy } from './unsubscribing.js';
import type { Arrival, Decoded } from './wire.js';

/** What a live subscription is told. */
export interface LiveOptions {
  readonly bounds: Bounds;
  readonly concurrency?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Only requests, which await a reply. */
  readonly requests?: boolean | undefined;
}

/** Where replies to requests are awaited, by the context of each. */
const replies = new WeakMap<MessageContext, string>();

/** Where a reply to the request of `context` is awaited. */
export function replyOf(context: MessageContext): string | undefined {
  return replies.get(context);
}

/** What a handler of live messages is told. */
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

/** The contexts of one subscription: what they have in common is in their prototype, and costs nothing for each message. */
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
  readonly #most: number;
  readonly #requests: boolean;
  readonly #pending: Pending;
  readonly #Context = contextsOf(this);
  readonly #pump = (): void => this.#startAll();
  readonly #done: Done = (hand, failure) => this.#ended(hand, failure);
  #feed: Feed | undefined;
  /** Settles when its end is confirmed. */
  #gone: Promise<void> | undefined;
  #controller: AbortController | undefined;
  #over = false;
  #pumping = false;
  #handBytes = 0;
  /** Started and not yet counted. */
  #delivered = 0;
  #forget: () => void = () => {};

  constructor(bus: BusInternals, topic: string, isPattern: boolean, handling: Handling, options: LiveOptions) {
    this.#bus = bus;
    this.#handling = handling;
    this.#topic = topic;
    this.pattern = isPattern ? topic : undefined;
    this.bounds = options.bounds;
    this.#most = options.concurrency ?? options.bounds.maxPending;
    this.#requests = options.requests ?? false;
    this.#pending = new Pending(options.bounds);
  }

  /** Aborted when the subscription ends. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#over) this.#controller.abort(over());
    }
    return this.#controller.signal;
  }

  /** Joins the feed, and resolves when the server has confirmed. */
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
    if (this.#over) throw new RedisError('closed', 'MessageBus.subscribe: the subscription ended before the server had confirmed it');
    return unsubscribeBy(() => this.#unsubscribe());
  }

  take(arrivals: Arrival[]): void {
    if (this.#over) return;
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
    await left(this.#bus, this.#handling, this.#topic);
    this.#bus.members.delete(this);
  }

  /** Ends it, and resolves when the server has confirmed, too. */
  async #unsubscribe(): Promise<void> {
    await this.end();
    await this.#gone;
  }

  #stop(why: RedisError = over()): void {
    if (this.#over) return;
    this.#over = true;
    this.#pending.clear();
    this.#forget();
    this.#gone = this.#feed?.leave(this);
    this.#controller?.abort(why);
  }

  #startMore(): void {
    if (this.#pumping || this.#pending.isEmpty || !this.#hasRoom()) return;
    this.#handling.batch(this.#pump);
    if (this.#delivered === 0) return;
    this.#bus.counts.delivered += this.#delivered;
    this.#delivered = 0;
    this.#bus.counted();
  }

  /** May one more be in hand? One message may be larger than the bound. */
  #hasRoom(): boolean {
    return this.#handling.hands < this.#most && (this.#handBytes < this.bounds.maxPendingBytes || this.#handling.hands === 0);
  }

  #startAll(): void {
    this.#pumping = true;
    try {
      this.#startWhileRoom();
    } finally {
      this.#pumping = false;
    }
  }

  #startWhileRoom(): void {
    while (this.#hasRoom()) {
      const arrival = this.#pending.next();
      if (arrival === undefined) break;
      const decoded = arrival.read();
      if (decoded === undefined) {
        apart(() => this.#feed?.malformed(arrival));
        continue;
      }
      if (this.#requests && decoded.reply === undefined) continue;
      this.#delivered++;
      const hand = this.#handling.start(decoded.envelope, new this.#Context(arrival.topic, this.pattern, decoded), this.#done);
      if (!hand.ended) {
        hand.size = arrival.size;
        this.#handBytes += arrival.size;
      }
    }
  }

  #ended(hand: Hand, failure: { error: unknown } | undefined): void {
    this.#handBytes -= hand.size;
    if (failure !== undefined) {
      const { envelope, context } = hand;
      const about = { topic: context.topic, ...(this.pattern !== undefined && { pattern: this.pattern }) };
      this.#bus.failed({ ...about, envelopeId: envelope.id, corrId: envelope.corrId, error: failure.error });
    }
    this.#startMore();
  }
}

function over(): RedisError {
  return new RedisError('closed', 'the subscription has ended');
}
