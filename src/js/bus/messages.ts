/** Live messages as an async iterator. */

import { onAbort } from '../aborts.js';
import type { Envelope } from '../envelope.js';
import type { RedisError } from '../errors.js';
import type { Feed, Feeds, Subscriber } from './feed.js';
import type { BusInternals, Member } from './internals.js';
import type { Bounds } from './options.js';
import { Pending } from './pending.js';
import type { Arrival } from './wire.js';

interface NextCall {
  resolve(result: IteratorResult<Envelope, undefined>): void;
  reject(error: unknown): void;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** One iteration, which is subscribed from its start to its end. */
export class Messages implements Subscriber, Member {
  readonly bounds: Bounds;
  readonly #bus: BusInternals;
  readonly #pending: Pending;
  /** Calls of `next()` that wait for a message. */
  readonly #nextCalls: NextCall[] = [];
  #forget: () => void = () => {};
  #feed: Feed | undefined;
  /** Settles when the server has confirmed the end of the subscription. */
  #unsubscribed: Promise<void> | undefined;
  #isOver = false;
  /** The error that ended the iteration, until a call of `next()` has rejected with it. */
  #error: unknown;

  constructor(bus: BusInternals, feeds: Feeds, topic: string, bounds: Bounds, signal: AbortSignal | undefined) {
    this.bounds = bounds;
    this.#bus = bus;
    this.#pending = new Pending(bounds);
    if (signal?.aborted || bus.closing) {
      this.#isOver = true;
      return;
    }
    const feed = feeds.join(topic, false, this);
    this.#feed = feed;
    bus.members.add(this);
    this.#forget = onAbort(signal, () => this.#stop());
    feed.confirmed.catch((error: unknown) => this.#stop(error));
  }

  next(): Promise<IteratorResult<Envelope, undefined>> {
    const envelope = this.#take();
    if (envelope !== undefined) return Promise.resolve({ done: false, value: envelope });
    if (!this.#isOver) return new Promise((resolve, reject) => this.#nextCalls.push({ resolve, reject }));
    const error = this.#error;
    this.#error = undefined;
    return error === undefined ? Promise.resolve(DONE) : Promise.reject(error);
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#stop();
    await this.#unsubscribed;
    return DONE;
  }

  /** The iterator that the caller gets. Its methods work without `this`. */
  iterator(): AsyncIterableIterator<Envelope, undefined> & AsyncDisposable {
    const iterator = {
      next: () => this.next(),
      return: () => this.return(),
      [Symbol.asyncIterator]: () => iterator,
      [Symbol.asyncDispose]: async () => {
        await this.return();
      },
    };
    return iterator;
  }

  take(arrivals: Arrival[]): void {
    if (this.#isOver) return;
    for (const arrival of arrivals) this.#pending.add(arrival);
    while (this.#nextCalls.length > 0) {
      const envelope = this.#take();
      if (envelope === undefined) break;
      this.#nextCalls.shift()?.resolve({ done: false, value: envelope });
    }
    const dropped = this.#pending.trim();
    if (dropped > 0) this.#feed?.dropped(dropped);
  }

  /** If the manager was disconnected, the iteration ends as with `return()`. If the subscription failed, `next()` rejects with the error. */
  ended(error: RedisError): void {
    this.#stop(error.redisErrorKind === 'closed' ? undefined : error);
  }

  async end(): Promise<void> {
    this.#stop();
  }

  /** Removes the oldest waiting message and returns it. Messages that are not JSON are reported and skipped. */
  #take(): Envelope | undefined {
    for (;;) {
      const arrival = this.#pending.next();
      if (arrival === undefined) return undefined;
      const decoded = arrival.read();
      if (decoded !== undefined) {
        this.#bus.counts.delivered++;
        this.#bus.counted();
        return decoded.envelope;
      }
      this.#feed?.malformed(arrival);
    }
  }

  #stop(error?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pending.clear();
    this.#bus.members.delete(this);
    this.#forget();
    this.#unsubscribed = this.#feed?.leave(this);
    const calls = this.#nextCalls.splice(0);
    if (error !== undefined && calls.length > 0) calls.shift()?.reject(error);
    else this.#error = error;
    for (const { resolve } of calls) resolve(DONE);
  }
}
