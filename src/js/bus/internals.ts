/** The private state of a bus, which its parts share. */

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

/** A receiver of the deliveries and events of one id. Its methods must not throw. */
export interface Receiver {
  /** Takes the values from place `from` up to, but without, `to`. */
  receive(values: unknown[], from: number, to: number): void;
  event(event: { event: string; [field: string]: unknown }): void;
}

/** A subscription or iteration, which `close()` ends. */
export interface Member {
  /** Ends the member. Never rejects. */
  end(): Promise<void>;
}

/** The number of deliveries after which the counts are sent to Rust even if nobody has read the metrics. */
const COUNTS_PER_CALL = 100_000;

/** Ignores the error of a call that nobody waits for. Such a call fails only after the bus was closed. */
export const ignore = (): void => {};

export class BusInternals {
  readonly port: Port;
  /** The bus' managers. This reference keeps them from being garbage-collected: they call the password function and emit events. */
  readonly managers: readonly IRedisConnection[];
  /** The handle that publishes. */
  readonly out: number;
  /** The handle that subscribes, sends requests and consumes. */
  readonly handle: number;
  readonly bounds: Bounds;
  readonly closeTimeoutMs: number;
  /** The subscriptions and iterations that `close()` ends. */
  readonly members = new Set<Member>();
  readonly listeners = new Listeners<BusEventArguments>('MessageBus', BUS_EVENTS);
  /** What handlers did since the last call to Rust; {@link counted} arranges the next call. */
  readonly counts = { delivered: 0, dropped: 0, malformed: 0, failed: 0 };
  /** Has `close()` been called? */
  closing = false;
  /** Has everything ended? */
  closed = false;
  readonly #receivers = new Map<number, Receiver>();
  readonly #flushCounts = (): void => void this.#sendCounts();
  readonly #onEvent: EventHandler = (event) => this.#receivers.get(event.id as number)?.event(event);
  readonly #onDelivery: DeliveryHandler = (values) => this.#receive(values);
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

  /** Registers `receiver` for the deliveries to `id`. While the bus has a receiver, the port keeps the bus from being garbage-collected. */
  register(id: number, receiver: Receiver): void {
    this.#receivers.set(id, receiver);
    if (this.#receivers.size > 1) return;
    this.port.receive(this.handle, this.#onDelivery);
    this.port.listen(this.handle, this.#onEvent);
  }

  unregister(id: number): void {
    this.#receivers.delete(id);
    if (this.#receivers.size > 0 || this.closed) return;
    this.port.receiveWeakly(this.handle, this.#onDelivery);
    this.port.listenWeakly(this.handle, this.#onEvent);
    // The counts are sent now: the port would keep the function, and with it the bus, until somebody reads the metrics.
    this.port.disown(this.#flushCounts);
    this.#flushCounts();
  }

  /** Throws once the bus is being closed. */
  checkOpen(what: string): void {
    if (this.closing) throw new RedisError('closed', `${what}: the bus is closed`);
  }

  /** Throws once the bus is closed; a handler that `close()` waits for may still publish. */
  checkPublishing(): void {
    if (this.closing && (this.closed || scopeNow()?.call === undefined)) this.checkOpen('MessageBus.publish');
  }

  /** Emits an event. Never throws. */
  emit<E extends keyof BusEvents>(name: E, ...event: BusEventArguments[E]): void {
    this.listeners.emit(name, ...event);
  }

  /** Counts a failed handler, and emits `error`. */
  failed(event: BusEvents['error']): void {
    this.counts.failed++;
    this.counted();
    this.emit('error', event);
  }

  /** Call it after a change of {@link counts}: they are sent to Rust before the metrics are read. */
  counted(): void {
    if (this.closed) return;
    if (this.counts.delivered >= COUNTS_PER_CALL || this.#receivers.size === 0) this.#flushCounts();
    else this.port.owe(this.#flushCounts);
  }

  /**
   * Resolves after `ms` milliseconds, even if the timers of JavaScript are faked. Keeps neither the process alive nor the bus in memory: it is no
   * `async` function, whose frame would hold the bus until then.
   */
  wait(ms: number): Promise<unknown> {
    return this.port.callQuietly(this.out, V.wait, ms).catch(ignore);
  }

  async ready(): Promise<void> {
    const handles = this.out === this.handle ? [this.out] : [this.out, this.handle];
    await Promise.all(handles.map((handle) => this.port.call(handle, V.ready)));
  }

  /** Sends the last counts, and releases the native targets. */
  async release(): Promise<void> {
    this.closed = true;
    // Otherwise the port would keep the bus, with its listeners, until somebody reads the metrics.
    this.port.disown(this.#flushCounts);
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
    return this.port.callQuietly(this.handle, V.count, delivered, dropped, malformed, failed).catch(ignore);
  }
}
