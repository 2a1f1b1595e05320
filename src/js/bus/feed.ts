/** A feed: one subscription of a topic or pattern on the server, shared by all its subscribers on this bus. */

import { RedisError, type RedisErrorKind } from '../errors.js';
import { verbs } from '../native.js';
import { type BusInternals, ignore, type Receiver } from './internals.js';
import type { Bounds } from './options.js';
import { Arrival } from './wire.js';

const V = verbs('bus', 'subscribe', 'unsubscribe', 'bound', 'took');

/**
 * Rust delivers only a window of messages ahead, and continues when it learns that messages were taken. Taken messages are reported from these amounts
 * on. The windows are at least four times as large.
 */
const REPORT_MESSAGES = 256;
const REPORT_BYTES = 64 * 1024;

/** A receiver of a feed's messages. Its methods must not throw. */
export interface Subscriber {
  readonly bounds: Bounds;
  take(arrivals: Arrival[]): void;
  /** The feed is over: the manager was disconnected. */
  ended(error: RedisError): void;
}

/** The feeds of a bus. */
export class Feeds {
  readonly #bus: BusInternals;
  readonly #feeds = new Map<string, Feed>();
  /** The unsubscriptions that the server has not confirmed yet. */
  readonly #ending = new Set<Promise<void>>();

  constructor(bus: BusInternals) {
    this.#bus = bus;
  }

  /** Adds a subscriber. From {@link Feed.confirmed} on, no message is missed. */
  join(topic: string, isPattern: boolean, subscriber: Subscriber): Feed {
    const name = `${isPattern ? 'pattern' : 'topic'} ${topic}`;
    let feed = this.#feeds.get(name);
    if (feed === undefined) {
      const made = new Feed(this.#bus, topic, isPattern, subscriber, (ended) => {
        if (this.#feeds.get(name) === made) this.#feeds.delete(name);
        this.#ending.add(ended);
        const forget = (): void => void this.#ending.delete(ended);
        ended.then(forget, forget);
      });
      feed = made;
      this.#feeds.set(name, feed);
    } else {
      feed.add(subscriber);
    }
    return feed;
  }

  /** Resolves when the server has confirmed or refused every subscription. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#feeds.values()].map((feed) => feed.confirmed));
  }

  /** Resolves when the server has confirmed every unsubscription, at the latest after `ms` milliseconds. */
  async ended(ms: number): Promise<void> {
    if (this.#ending.size === 0) return;
    await Promise.race([Promise.allSettled(this.#ending), this.#bus.wait(ms)]);
  }
}

export class Feed implements Receiver {
  readonly topic: string;
  readonly isPattern: boolean;
  /** Resolves when the server has confirmed the subscription. */
  readonly confirmed: Promise<unknown>;
  readonly #bus: BusInternals;
  readonly #id: number;
  readonly #subscribers: Subscriber[];
  readonly #onEnd: (ended: Promise<void>) => void;
  #ended: Promise<void> | undefined;
  #bounds: Bounds;
  #reportFrom = 0;
  #taken = 0;
  #takenBytes = 0;
  #retained = false;

  constructor(bus: BusInternals, topic: string, isPattern: boolean, first: Subscriber, onEnd: (ended: Promise<void>) => void) {
    this.#bus = bus;
    this.topic = topic;
    this.isPattern = isPattern;
    this.#subscribers = [first];
    this.#bounds = first.bounds;
    this.#onEnd = onEnd;
    this.#id = bus.nextId();
    this.#setBounds(first.bounds);
    bus.register(this.#id, this);
    const { maxPending, maxPendingBytes } = first.bounds;
    this.confirmed = bus.port.call(bus.handle, V.subscribe, this.#id, topic, isPattern, maxPending, maxPendingBytes);
    this.confirmed.then(
      () => {
        if (this.#ended !== undefined) return;
        this.#retained = true;
        bus.port.retain();
      },
      () => this.#end(),
    );
  }

  add(subscriber: Subscriber): void {
    this.#subscribers.push(subscriber);
    const { maxPending, maxPendingBytes } = subscriber.bounds;
    if (maxPending <= this.#bounds.maxPending && maxPendingBytes <= this.#bounds.maxPendingBytes) return;
    this.#setBounds({
      maxPending: Math.max(maxPending, this.#bounds.maxPending),
      maxPendingBytes: Math.max(maxPendingBytes, this.#bounds.maxPendingBytes),
    });
    const { port, handle } = this.#bus;
    port.callQuietly(handle, V.bound, this.#id, this.#bounds.maxPending, this.#bounds.maxPendingBytes).catch(ignore);
  }

  /**
   * Removes a subscriber. Without subscribers the subscription ends on the server; the promise then resolves when the server has confirmed the end.
   *
   * @throws RedisError of kind `timeout`.
   */
  leave(subscriber: Subscriber): Promise<void> {
    const at = this.#subscribers.indexOf(subscriber);
    if (at >= 0) this.#subscribers.splice(at, 1);
    if (this.#subscribers.length === 0) this.#end();
    return this.#ended ?? Promise.resolve();
  }

  receive(values: unknown[], from: number, to: number): void {
    const dropped = values[from] as number;
    const arrivals: Arrival[] = [];
    if (this.isPattern) {
      for (let at = from + 1; at < to; at += 2) arrivals.push(this.#arrival(String(values[at]), values[at + 1]));
    } else {
      for (let at = from + 1; at < to; at++) arrivals.push(this.#arrival(this.topic, values[at]));
    }
    this.#reportTaken(arrivals.length);
    if (dropped > 0) this.#bus.emit('slow', { ...this.naming(this.topic), dropped });
    const subscribers = this.#subscribers;
    if (subscribers.length === 1) subscribers[0]?.take(arrivals);
    // A copy, because a handler may add or remove subscribers meanwhile.
    else for (const subscriber of [...subscribers]) subscriber.take(arrivals);
  }

  event(event: { event: string; [field: string]: unknown }): void {
    if (event.event === 'gap') {
      this.#bus.emit('gap', { ...this.naming(this.topic), durationMs: event.durationMs as number });
    } else if (event.event === 'missed') {
      this.#bus.emit('slow', { ...this.naming(this.topic), dropped: 1 });
    } else if (event.event === 'ended') {
      const error = new RedisError(event.kind as RedisErrorKind, `the subscription has ended: ${String(event.message)}`);
      this.#end();
      for (const subscriber of this.#subscribers.splice(0)) subscriber.ended(error);
    }
  }

  /** The fields by which events name the topic and the pattern. */
  naming(topic: string): { topic: string; pattern?: string | undefined } {
    return this.isPattern ? { topic, pattern: this.topic } : { topic };
  }

  /** Counts the messages that a subscriber dropped, and emits `slow`. */
  dropped(dropped: number): void {
    this.#bus.counts.dropped += dropped;
    this.#bus.counted();
    this.#bus.emit('slow', { ...this.naming(this.topic), dropped });
  }

  /** Counts a message that is not JSON, and emits `malformed`. Does so once, even if the message has several subscribers. */
  malformed(arrival: Arrival): void {
    if (arrival.malformed) return;
    arrival.malformed = true;
    this.#bus.counts.malformed++;
    this.#bus.counted();
    const bytes = typeof arrival.raw === 'string' ? Buffer.byteLength(arrival.raw) : arrival.size;
    this.#bus.emit('malformed', { ...this.naming(arrival.topic), bytes });
  }

  #arrival(topic: string, raw: unknown): Arrival {
    const arrival = new Arrival(topic, raw);
    this.#takenBytes += arrival.size;
    return arrival;
  }

  /** Reports the taken messages to Rust, once enough have been taken. */
  #reportTaken(count: number): void {
    this.#taken += count;
    if (this.#taken < this.#reportFrom && this.#takenBytes < REPORT_BYTES) return;
    this.#bus.port.callQuietly(this.#bus.handle, V.took, this.#id, this.#taken).catch(ignore);
    this.#taken = 0;
    this.#takenBytes = 0;
  }

  #setBounds(bounds: Bounds): void {
    this.#bounds = bounds;
    this.#reportFrom = Math.min(REPORT_MESSAGES, Math.ceil(bounds.maxPending / 4));
  }

  #end(): void {
    if (this.#ended !== undefined) return;
    const { port, handle } = this.#bus;
    this.#ended = endOf(port.call(handle, V.unsubscribe, this.#id));
    // A caller of `leave` gets the rejection. This handler prevents an unhandled rejection if there is no such caller.
    this.#ended.catch(ignore);
    this.#onEnd(this.#ended);
    this.#bus.unregister(this.#id);
    if (this.#retained) port.free();
  }
}

/** Waits for an unsubscription. An error of kind `closed` counts as its success: the manager has ended all subscriptions. */
async function endOf(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof RedisError && error.redisErrorKind === 'closed')) throw error;
  }
}
