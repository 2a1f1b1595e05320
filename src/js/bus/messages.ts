/** Live messages as an async iterator. */

import { onAbort } from '../aborts.js';
import type { Envelope } from '../envelope.js';
import type { RedisError } from '../errors.js';
import type { Feed, Feeds, Subscriber } from './feed.js';
import type { BusInternals, Member } from './internals.js';
import type { Bounds } from './options.js';
import { Pending } from './pending.js';
import type { Arrival } from './wire.js';

interface Asked {
  resolve(result: IteratorResult<Envelope, undefined>): void;
  reject(error: unknown): void;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** One iteration: subscribed from its start to its end. */
export class Messages implements Subscriber, Member {
  readonly bounds: Bounds;
  readonly #bus: BusInternals;
  readonly #pending: Pending;
  /** Calls of `next()` that have nothing yet. */
  readonly #asked: Asked[] = [];
  #forget: () => void = () => {};
  #feed: Feed | undefined;
  /** Settles when its end is confirmed. */
  #gone: Promise<void> | undefined;
  #over = false;
  /** What ended it, until somebody is told. */
  #error: unknown;

  constructor(bus: BusInternals, feeds: Feeds, topic: string, bounds: Bounds, signal: AbortSignal | undefined) {
    this.bounds = bounds;
    this.#bus = bus;
    this.#pending = new Pending(bounds);
    if (signal?.aborted || bus.closing) {
      this.#over = true;
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
    if (!this.#over) return new Promise((resolve, reject) => this.#asked.push({ resolve, reject }));
    const error = this.#error;
    this.#error = undefined;
    return error === undefined ? Promise.resolve(DONE) : Promise.reject(error);
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#stop();
    await this.#gone;
    return DONE;
  }

  /** What iterates. Its methods are bound, and it has no other members. */
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
    if (this.#over) return;
    for (const arrival of arrivals) this.#pending.add(arrival);
    while (this.#asked.length > 0) {
      const envelope = this.#take();
      if (envelope === undefined) break;
      this.#asked.shift()?.resolve({ done: false, value: envelope });
    }
    const dropped = this.#pending.trim();
    if (dropped > 0) this.#feed?.dropped(dropped);
  }

  /** A manager that was disconnected ends it as `return()` does; one that failed is an error. */
  ended(error: RedisError): void {
    this.#stop(error.redisErrorKind === 'closed' ? undefined : error);
  }

  async end(): Promise<void> {
    this.#stop();
  }

  /** The oldest message that is one. */
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
    if (this.#over) return;
    this.#over = true;
    this.#pending.clear();
    this.#bus.members.delete(this);
    this.#forget();
    this.#gone = this.#feed?.leave(this);
    const asked = this.#asked.splice(0);
    if (error !== undefined && asked.length > 0) asked.shift()?.reject(error);
    else this.#error = error;
    for (const { resolve } of asked) resolve(DONE);
  }
}
