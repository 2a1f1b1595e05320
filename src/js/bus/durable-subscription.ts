/** A durable subscription: one handler, the messages it was given and what became of them. */

import { onAbort } from '../aborts.js';
import { cancelled } from '../arguments.js';
import { MESSAGE_VALUES } from '../codes.js';
import type { Envelope } from '../envelope.js';
import { messageOf, RedisError, type RedisErrorKind } from '../errors.js';
import { internals } from '../internals.js';
import { verbs } from '../native.js';
import { optionsJson } from '../port.js';
import { apart } from '../scope.js';
import type { DurableOptions } from './durable.js';
import { DurableContext, type Waiting } from './durable-context.js';
import type { BusEvents } from './events.js';
import type { Done, Hand, Handling } from './handling.js';
import { type BusInternals, type Member, type Receiver, unheard } from './internals.js';
import type { Unsubscribe } from './options.js';
import { left, unsubscribeBy } from './unsubscribing.js';
import { decode } from './wire.js';

const V = verbs('bus', 'consume', 'acknowledge', 'fail', 'refuse', 'giveBack', 'pause', 'leave');

/** How long a handler may run, unless it is said. */
const TIMEOUT_MS = 600_000;
/** Messages whose end is told in one call. */
const TOLD_AT_ONCE = 1_000;

const settled: Promise<void> = Promise.resolve();
/** The clock as it was before anyone faked it. */
const clock = performance.now.bind(performance);

export class DurableSubscription implements Receiver, Member {
  readonly #bus: BusInternals;
  readonly #handling: Handling;
  readonly #topic: string;
  readonly #options: DurableOptions;
  readonly #id: number;
  readonly #concurrency: number;
  readonly #running = new Map<number, Hand>();
  readonly #pump = (): void => this.#startAll();
  readonly #flush = (): void => this.#tellDone();
  readonly #onDone: Done = (hand, failure) => this.#ended(hand, failure);
  #waiting: Waiting[] = [];
  #next = 0;
  #done: number[] = [];
  /** Messages whose handlers ended with the subscription, before they were done. */
  readonly #interrupted: number[] = [];
  #telling = false;
  /** Started and not yet counted. */
  #delivered = 0;
  #pumping = false;
  /** Does it take nothing more? */
  #over = false;
  #left: Promise<void> | undefined;
  #forget: () => void = () => {};

  constructor(bus: BusInternals, topic: string, handling: Handling, options: DurableOptions) {
    this.#bus = bus;
    this.#handling = handling;
    this.#topic = topic;
    this.#options = options;
    this.#id = bus.nextId();
    this.#concurrency = options.concurrency ?? 1;
  }

  /** Joins the group. */
  async begin(signal: AbortSignal | undefined): Promise<Unsubscribe> {
    const { port, handle } = this.#bus;
    const text = optionsJson(this.#options, { signal: undefined, from: startOf(this.#options.from) });
    this.#bus.register(this.#id, this);
    this.#bus.members.add(this);
    port.retain();
    let abort: () => void = () => {};
    const aborted = new Promise<void>((resolve) => {
      abort = (): void => {
        resolve();
        void this.end();
      };
    });
    this.#forget = onAbort(signal, abort);
    const joined = port.call(handle, V.consume, this.#id, this.#topic, text);
    try {
      await Promise.race([joined, aborted]);
    } catch (error) {
      this.#over = true;
      this.#release();
      throw error;
    }
    if (signal?.aborted) {
      joined.catch(unheard);
      throw cancelled('MessageBus.subscribe', signal);
    }
    if (this.#over) throw new RedisError('closed', 'MessageBus.subscribe: the subscription ended before the server had confirmed it');
    return unsubscribeBy(() => this.end());
  }

  receive(values: unknown[], from: number, to: number): void {
    for (let at = from; at < to; at += MESSAGE_VALUES) {
      this.#waiting.push({
        number: values[at] as number,
        streamId: values[at + 1] as string,
        prior: values[at + 2] as number,
        lastError: values[at + 3] as string | null,
        key: values[at + 4] as string | null,
        raw: values[at + 5],
      });
    }
    if (this.#over) this.#giveBackWaiting();
    else this.#startMore();
  }

  event(event: { event: string; [field: string]: unknown }): void {
    const { kind, message, serverCode } = event as {
      kind?: RedisErrorKind | undefined;
      message?: string | undefined;
      serverCode?: string | undefined;
    };
    const error = (): RedisError =>
      new RedisError(kind ?? 'server', message ?? 'the consumer failed', serverCode ? { serverCode } : undefined);
    switch (event.event) {
      case 'overdue':
        this.#overdue(event.numbers as number[]);
        break;
      case 'lost':
        this.#lost(event.upto as number);
        break;
      case 'failed':
        this.#bus.emit('error', { topic: this.#topic, group: this.#options.group, error: error() });
        break;
      case 'deadLetter': {
        const { letterId, streamId, attempts, lastError } = event as unknown as BusEvents['dead-letter'];
        this.#bus.emit('dead-letter', { topic: this.#topic, group: this.#options.group, letterId, streamId, attempts, lastError });
        break;
      }
      case 'ended':
        this.#over = true;
        this.#waiting = [];
        this.#next = 0;
        this.#abortRunning(error());
        this.#release();
        break;
    }
  }

  async end(): Promise<void> {
    if (!this.#over) {
      this.#over = true;
      this.#forget();
      this.#bus.port.callQuietly(this.#bus.handle, V.pause, this.#id).catch(unheard);
      this.#giveBackWaiting();
      this.#abortRunning(new RedisError('closed', 'the subscription has ended: its handlers are waited for, for at most closeTimeoutMs'));
    }
    await left(this.#bus, this.#handling, this.#topic);
    // A handler that waits for the end itself still has its message: that is told when it has ended.
    if ([...this.#running.values()].every((hand) => hand.leaving)) this.#leaveWhenDone();
    else this.#leave();
    if (this.#left !== undefined) await this.#left;
  }

  #leaveWhenDone(): void {
    if (this.#running.size === 0) this.#leave();
  }

  /** Gives back what is in hand, and is no consumer any more. */
  #leave(): void {
    if (this.#left !== undefined) return;
    const begun = [...this.#running.keys(), ...this.#interrupted];
    this.#running.clear();
    this.#tellDone();
    this.#left = this.#bus.port.callWith(this.#bus.handle, V.leave, [this.#id, ...begun]).then(unheard, unheard);
    void this.#left.then(() => this.#release());
  }

  /** Nothing comes for it any more. */
  #release(): void {
    if (!this.#bus.members.delete(this)) return;
    this.#forget();
    this.#bus.unregister(this.#id);
    this.#bus.port.free();
  }

  #startMore(): void {
    if (this.#pumping || this.#next >= this.#waiting.length || this.#running.size >= this.#concurrency) return;
    this.#handling.batch(this.#pump);
    if (this.#done.length > 0) this.#tellSoon();
    if (this.#delivered === 0) return;
    this.#bus.counts.delivered += this.#delivered;
    this.#delivered = 0;
    this.#bus.counted();
  }

  /** Has what is done by the end of this moment told. */
  #tellSoon(): void {
    if (this.#telling) return;
    this.#telling = true;
    settled.then(this.#flush);
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
    const { group } = this.#options;
    const now = clock();
    while (this.#running.size < this.#concurrency && !this.#over) {
      const waiting = this.#waiting[this.#next];
      if (waiting === undefined) {
        this.#waiting = [];
        this.#next = 0;
        break;
      }
      this.#next++;
      const decoded = decode(this.#topic, waiting.raw);
      if (decoded === undefined) {
        apart(() => this.#refuse(waiting));
        continue;
      }
      const { envelope } = decoded;
      if (waiting.prior > 0) tried(envelope, waiting);
      const key = waiting.key ?? decoded.key;
      const context = new DurableContext(this.#topic, group, waiting, envelope.attempts + 1, key, now);
      this.#delivered++;
      const hand = this.#handling.start(envelope, context, this.#onDone);
      if (!hand.ended) this.#running.set(waiting.number, hand);
    }
  }

  #ended(hand: Hand, failure: { error: unknown } | undefined): void {
    const { envelope } = hand;
    const context = hand.context as DurableContext;
    const { number, reason } = context[internals];
    // One that is not in `#running` has ended at once, or is another consumer's by now.
    this.#running.delete(number);
    if (failure === undefined) {
      this.#done.push(number);
      if (!this.#pumping) this.#tellSoon();
    } else {
      // One that heeds the end of its subscription has not failed: its message goes back with what is left in hand.
      if (this.#over && reason !== undefined) this.#interrupted.push(number);
      else this.#fail(number, failure.error);
      const { topic, group } = context;
      this.#bus.failed({ topic, group, envelopeId: envelope.id, corrId: envelope.corrId, error: failure.error });
    }
    if (this.#over) {
      if (this.#running.size === 0 && hand.leaving) this.#leave();
    } else {
      this.#startMore();
    }
  }

  #tellDone(): void {
    this.#telling = false;
    const done = this.#done;
    this.#done = [];
    for (let at = 0; at < done.length; at += TOLD_AT_ONCE) {
      const some = done.length <= TOLD_AT_ONCE ? done : done.slice(at, at + TOLD_AT_ONCE);
      this.#bus.port.callQuietly(this.#bus.handle, V.acknowledge, this.#id, ...some).catch(unheard);
    }
  }

  #fail(number: number, error: unknown): void {
    // What ended before is told before.
    this.#tellDone();
    this.#bus.port.callQuietly(this.#bus.handle, V.fail, this.#id, number, wellFormed(messageOf(error))).catch(unheard);
  }

  #refuse(waiting: Waiting): void {
    const { bus, topic, group } = { bus: this.#bus, topic: this.#topic, group: this.#options.group };
    const bytes = typeof waiting.raw === 'string' ? Buffer.byteLength(waiting.raw) : ((waiting.raw as Buffer | null)?.length ?? 0);
    bus.counts.malformed++;
    bus.counted();
    bus.port.callQuietly(bus.handle, V.refuse, this.#id, waiting.number, 'not JSON').catch(unheard);
    bus.emit('malformed', { topic, group, streamId: waiting.streamId, bytes });
  }

  #giveBackWaiting(): void {
    const numbers = this.#waiting.slice(this.#next).map((waiting) => waiting.number);
    this.#waiting = [];
    this.#next = 0;
    this.#giveBack(numbers);
  }

  #giveBack(numbers: number[]): void {
    for (let at = 0; at < numbers.length; at += TOLD_AT_ONCE) {
      const some = numbers.slice(at, at + TOLD_AT_ONCE);
      this.#bus.port.callQuietly(this.#bus.handle, V.giveBack, this.#id, ...some).catch(unheard);
    }
  }

  /** These have been here for longer than a handler may run. */
  #overdue(numbers: number[]): void {
    const timeoutMs = this.#options.timeoutMs ?? TIMEOUT_MS;
    const late = new Set(numbers);
    for (const number of numbers) {
      const hand = this.#running.get(number);
      if (hand === undefined) continue;
      const left = timeoutMs - (clock() - (hand.context as DurableContext)[internals].since);
      if (left > 0) {
        this.#overdueIn(left, number);
        continue;
      }
      this.#running.delete(number);
      const error = new RedisError('timeout', `the handler has not ended within timeoutMs, ${timeoutMs} ms`);
      (hand.context as DurableContext)[internals].abort(error);
      this.#fail(number, error);
      const { envelope } = hand;
      this.#bus.failed({ topic: this.#topic, group: this.#options.group, envelopeId: envelope.id, corrId: envelope.corrId, error });
    }
    // Others may have time for what waits behind.
    const waiting = this.#waiting.slice(this.#next);
    const stuck = waiting.filter(({ number }) => late.has(number)).map(({ number }) => number);
    this.#waiting = stuck.length > 0 ? waiting.filter(({ number }) => !late.has(number)) : waiting;
    this.#next = 0;
    this.#giveBack(stuck);
    if (!this.#over) this.#startMore();
  }

  /** The handler has begun later than the message came. */
  #overdueIn(ms: number, number: number): void {
    // The subscription, which may have ended long before then, is not kept.
    const ref = new WeakRef(this);
    void this.#bus.wait(Math.ceil(ms)).then(() => {
      const self = ref.deref();
      if (self === undefined || !self.#bus.members.has(self)) return;
      self.#overdue([number]);
    });
  }

  /** Messages up to that number are others' now. */
  #lost(upto: number): void {
    const waiting = this.#waiting.slice(this.#next);
    this.#waiting = waiting.filter(({ number }) => number > upto);
    this.#next = 0;
    this.#giveBack(waiting.filter(({ number }) => number <= upto).map(({ number }) => number));
    const error = new RedisError('lease-lost', 'the message went to another consumer: this one gave no sign of life for claimAfterMs');
    for (const [number, hand] of this.#running) {
      if (number <= upto) (hand.context as DurableContext)[internals].abort(error);
    }
  }

  #abortRunning(error: RedisError): void {
    for (const hand of this.#running.values()) (hand.context as DurableContext)[internals].abort(error);
  }
}

/** Writes into an envelope how often it was tried before, and why the last attempt failed. */
export function tried(envelope: Envelope, before: { prior: number; lastError: string | null }): void {
  envelope.attempts += before.prior;
  if (before.lastError !== null) envelope.lastError = before.lastError;
}

/** A time becomes the id of the first message that may have been appended then. All else is judged in Rust. */
function startOf(from: unknown): unknown {
  if (typeof from !== 'string' || !/^\d{4}-/.test(from) || /^\d+-\d+$/.test(from)) return from;
  const time = Date.parse(from);
  return time >= 0 ? String(time) : from;
}

/** A lone surrogate has no UTF-8. */
function wellFormed(text: string): string {
  return text.isWellFormed() ? text : text.toWellFormed();
}
