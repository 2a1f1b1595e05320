/** What the parts of a bus share. */

import { RedisError } from '../errors.js';
import { internals } from '../internals.js';
import { Listeners } from '../listeners.js';
import { verbs } from '../native.js';
import type { DeliveryHandler, EventHandler, Port } from '../port.js';
import type { IRedisConnection } from '../ports.js';
import { scopeNow } from '../scope.js';
import { BUS_EVENTS, type BusEventArguments, type BusEvents } from './events.js';
import type { Bounds, MessageBusOptions } from './options.js';

const V = verbs('bus', 'count', 'wait', 'ready');

/** Takes what is delivered to one id. Must not throw. */
export interface Receiver {
  /** `values[from]` up to, without, `values[to]` are for it. */
  receive(values: unknown[], from: number, to: number): void;
  event(event: { event: string; [field: string]: unknown }): void;
}

/** What lasts until it is ended or the bus closes. */
export interface Member {
  /** Ends it. Never rejects. */
  end(): Promise<void>;
}

/** Deliveries after which the counts cross though nobody has asked for them. */
const TELL_COUNTS = 100_000;

/** Ignores the error of a call that nobody waits for: only a released handle gives one, and every other call on it rejects too. */
export const unheard = (): void => {};

export class BusInternals {
  readonly port: Port;
  /** Not to be collected before the bus: they ask for passwords and tell what happens. */
  readonly managers: readonly IRedisConnection[];
  /** Publishes. */
  readonly out: number;
  /** Subscribes, requests and consumes. */
  readonly handle: number;
  readonly bounds: Bounds;
  readonly closeTimeoutMs: number;
  /** What `close()` ends. */
  readonly members = new Set<Member>();
  readonly listeners = new Listeners<BusEventArguments>('MessageBus', BUS_EVENTS);
  /** What handlers did and Rust was not told yet; {@link counted} tells it. */
  readonly counts = { delivered: 0, dropped: 0, malformed: 0, failed: 0 };
  /** Has `close()` been called? */
  closing = false;
  /** Is everything ended? */
  closed = false;
  readonly #receivers = new Map<number, Receiver>();
  readonly #tell = (): void => void this.#sendCounts();
  readonly #hear: EventHandler = (event) => this.#receivers.get(event.id as number)?.event(event);
  readonly #take: DeliveryHandler = (values) => this.#receive(values);
  #lastId = 0;

  constructor(manager: IRedisConnection, options: MessageBusOptions, bounds: Bounds, closeTimeoutMs: number) {
    const { namespace, sharded, retention, subscriber = manager } = options;
    const { port, handle } = manager[internals];
    this.port = port;
    this.managers = [manager, subscriber];
    this.out = port.open('bus', handle, { namespace, sharded, retention }, this);
    this.handle =
      subscriber[internals] === manager[internals]
        ? this.out
        : port.open('bus', subscriber[internals].handle, { namespace, sharded, retention }, this);
    this.bounds = bounds;
    this.closeTimeoutMs = closeTimeoutMs;
  }

  nextId(): number {
    this.#lastId++;
    return this.#lastId;
  }

  /** Has `receiver` given what is delivered to `id`. What is subscribed is heard whether or not anyone keeps the bus. */
  register(id: number, receiver: Receiver): void {
    this.#receivers.set(id, receiver);
    if (this.#receivers.size > 1) return;
    this.port.receive(this.handle, this.#take);
    this.port.listen(this.handle, this.#hear);
  }

  unregister(id: number): void {
    this.#receivers.delete(id);
    if (this.#receivers.size > 0 || this.closed) return;
    this.port.receiveWeakly(this.handle, this.#take);
    this.port.listenWeakly(this.handle, this.#hear);
    // What is owed would be held until somebody reads metrics.
    this.port.disown(this.#tell);
    this.#tell();
  }

  /** Throws once the bus is being closed. */
  checkOpen(what: string): void {
    if (this.closing) throw new RedisError('closed', `${what}: the bus is closed`);
  }

  /** Throws once the bus is closed; a handler that `close()` waits for may still publish. */
  checkPublishing(): void {
    if (this.closing && (this.closed || scopeNow()?.hand === undefined)) this.checkOpen('MessageBus.publish');
  }

  /** Tells an event. Never throws. */
  emit<E extends keyof BusEvents>(name: E, ...event: BusEventArguments[E]): void {
    this.listeners.emit(name, ...event);
  }

  /** Tells what a handler failed with, and counts it. */
  failed(event: BusEvents['error']): void {
    this.counts.failed++;
    this.counted();
    this.emit('error', event);
  }

  /** Has {@link counts} told to Rust before anyone reads its metrics. */
  counted(): void {
    if (this.closed) return;
    if (this.counts.delivered >= TELL_COUNTS || this.#receivers.size === 0) this.#tell();
    else this.port.owe(this.#tell);
  }

  /**
   * Resolves after `ms` milliseconds, even if the clock of JavaScript is faked. Does not keep the process alive, nor the bus: whoever waits for
   * something else besides may have gone long before, and no `async` function is to stand here till then.
   */
  wait(ms: number): Promise<unknown> {
    return this.port.callQuietly(this.out, V.wait, ms).catch(unheard);
  }

  async ready(): Promise<void> {
    const handles = this.out === this.handle ? [this.out] : [this.out, this.handle];
    await Promise.all(handles.map((handle) => this.port.call(handle, V.ready)));
  }

  /** Lets the native side go; nothing is counted any more. */
  async release(): Promise<void> {
    this.closed = true;
    // Else the port would hold the bus, with its listeners, until somebody reads metrics.
    this.port.disown(this.#tell);
    await this.#sendCounts();
    this.port.release(this.out);
    if (this.handle !== this.out) this.port.release(this.handle);
  }

  #receive(values: unknown[]): void {
    let at = 0;
    while (at < values.length) {
      const receiver = this.#receivers.get(values[at] as number);
      const from = at + 2;
      at = from + (values[at + 1] as number);
      receiver?.receive(values, from, at);
    }
  }

  #sendCounts(): Promise<unknown> {
    const { counts } = this;
    const { delivered, dropped, malformed, failed } = counts;
    if (delivered + dropped + malformed + failed === 0) return Promise.resolve();
    counts.delivered = 0;
    counts.dropped = 0;
    counts.malformed = 0;
    counts.failed = 0;
    return this.port.callQuietly(this.handle, V.count, delivered, dropped, malformed, failed).catch(unheard);
  }
}
