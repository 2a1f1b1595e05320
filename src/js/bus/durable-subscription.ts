/** A durable subscription: one handler, its messages in flight, and the reports of their outcomes to Rust. */

import { onAbort } from '../aborts.js';
import { cancelled } from '../arguments.js';
import { MESSAGE_VALUES } from '../codes.js';
import type { Envelope } from '../envelope.js';
import { messageOf, RedisError, type RedisErrorKind } from '../errors.js';
import { internals } from '../internals.js';
import { verbs } from '../native.js';
import { optionsJson } from '../port.js';
import { withoutScope } from '../scope.js';
import type { DurableOptions } from './durable.js';
import { DurableContext, type Waiting } from './durable-context.js';
import type { BusEvents } from './events.js';
import type { Done, HandlerCall, Handling } from './handling.js';
import { type BusInternals, ignore, type Member, type Receiver } from './internals.js';
import type { Unsubscribe } from './options.js';
import { handlersEnded, unsubscribeBy } from './unsubscribing.js';
import { decode } from './wire.js';

const V = verbs('bus', 'consume', 'acknowledge', 'fail', 'refuse', 'giveBack', 'pause', 'leave');

/** The default of `timeoutMs`. */
const TIMEOUT_MS = 600_000;
/** The most messages whose outcome one call to Rust reports. */
const PER_CALL = 1_000;

const settled: Promise<void> = Promise.resolve();
/** The real clock, taken before fake timers may replace it. */
const clock = performance.now.bind(performance);

export class DurableSubscription implements Receiver, Member {
  readonly #bus: BusInternals;
  readonly #handling: Handling;
  readonly #topic: string;
  readonly #options: DurableOptions;
  readonly #id: number;
  readonly #concurrency: number;
  readonly #running = new Map<number, HandlerCall>();
  readonly #startBatch = (): void => this.#startAll();
  readonly #flush = (): void => this.#acknowledge();
  readonly #onDone: Done = (call, failure) => this.#ended(call, failure);
  #waiting: Waiting[] = [];
  #next = 0;
  #done: number[] = [];
  /** Messages whose handlers ended with the subscription, before they were done. */
  readonly #interrupted: number[] = [];
  #isAcknowledging = false;
  /** How many handlers were started since the count was last added to the bus' counts. */
  #delivered = 0;
  #starting = false;
  /** Has the subscription ended? No further handler starts then. */
  #isOver = false;
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
      this.#isOver = true;
      this.#release();
      throw error;
    }
    if (signal?.aborted) {
      joined.catch(ignore);
      throw cancelled('MessageBus.subscribe', signal);
    }
    if (this.#isOver) throw new RedisError('closed', 'MessageBus.subscribe: the subscription ended before the server had confirmed it');
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
    if (this.#isOver) this.#giveBackWaiting();
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
        this.#isOver = true;
        this.#waiting = [];
        this.#next = 0;
        this.#abortRunning(error());
        this.#release();
        break;
    }
  }

  async end(): Promise<void> {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#forget();
      this.#bus.port.callQuietly(this.#bus.handle, V.pause, this.#id).catch(ignore);
      this.#giveBackWaiting();
      this.#abortRunning(new RedisError('closed', 'the subscription has ended: its handlers are waited for, for at most closeTimeoutMs'));
    }
    await handlersEnded(this.#bus, this.#handling, this.#topic);
    // A handler that itself waits for this end still has its message. The consumer leaves once the handler has ended, so that its outcome is reported.
    if ([...this.#running.values()].every((call) => call.leaving)) this.#leaveWhenDone();
    else this.#leave();
    if (this.#left !== undefined) await this.#left;
  }

  #leaveWhenDone(): void {
    if (this.#running.size === 0) this.#leave();
  }

  /** Leaves the group. Messages whose handlers have not finished are given back. */
  #leave(): void {
    if (this.#left !== undefined) return;
    const begun = [...this.#running.keys(), ...this.#interrupted];
    this.#running.clear();
    this.#acknowledge();
    this.#left = this.#bus.port.callWith(this.#bus.handle, V.leave, [this.#id, ...begun]).then(ignore, ignore);
    void this.#left.then(() => this.#release());
  }

  /** Ends the deliveries to this subscription. The subscription no longer keeps the process alive. */
  #release(): void {
    if (!this.#bus.members.delete(this)) return;
    this.#forget();
    this.#bus.unregister(this.#id);
    this.#bus.port.free();
  }

  #startMore(): void {
    if (this.#starting || this.#next >= this.#waiting.length || this.#running.size >= this.#concurrency) return;
    this.#handling.batch(this.#startBatch);
    if (this.#done.length > 0) this.#acknowledgeSoon();
    if (this.#delivered === 0) return;
    this.#bus.counts.delivered += this.#delivered;
    this.#delivered = 0;
    this.#bus.counted();
  }

  /** Acknowledges the finished messages, together, after the current run of promise jobs. */
  #acknowledgeSoon(): void {
    if (this.#isAcknowledging) return;
    this.#isAcknowledging = true;
    settled.then(this.#flush);
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
    const { group } = this.#options;
    const now = clock();
    while (this.#running.size < this.#concurrency && !this.#isOver) {
      const waiting = this.#waiting[this.#next];
      if (waiting === undefined) {
        this.#waiting = [];
        this.#next = 0;
        break;
      }
      this.#next++;
      const decoded = decode(this.#topic, waiting.raw);
      if (decoded === undefined) {
        withoutScope(() => this.#refuse(waiting));
        continue;
      }
      const { envelope } = decoded;
      if (waiting.prior > 0) addEarlierAttempts(envelope, waiting);
      const key = waiting.key ?? decoded.key;
      const context = new DurableContext(this.#topic, group, waiting, envelope.attempts + 1, key, now);
      this.#delivered++;
      const call = this.#handling.start(envelope, context, this.#onDone);
      if (!call.ended) this.#running.set(waiting.number, call);
    }
  }

  #ended(call: HandlerCall, failure: { error: unknown } | undefined): void {
    const { envelope } = call;
    const context = call.context as DurableContext;
    const { number, reason } = context[internals];
    // The number is missing here if the handler ended synchronously, or if its message was already reported as failed, or given back.
    this.#running.delete(number);
    if (failure === undefined) {
      this.#done.push(number);
      if (!this.#starting) this.#acknowledgeSoon();
    } else {
      // A handler that rejects because its subscription ends has not failed. Its message is given back when the consumer leaves.
      if (this.#isOver && reason !== undefined) this.#interrupted.push(number);
      else this.#fail(number, failure.error);
      const { topic, group } = context;
      this.#bus.failed({ topic, group, envelopeId: envelope.id, corrId: envelope.corrId, error: failure.error });
    }
    if (this.#isOver) {
      if (this.#running.size === 0 && call.leaving) this.#leave();
    } else {
      this.#startMore();
    }
  }

  #acknowledge(): void {
    this.#isAcknowledging = false;
    const done = this.#done;
    this.#done = [];
    for (let at = 0; at < done.length; at += PER_CALL) {
      const some = done.length <= PER_CALL ? done : done.slice(at, at + PER_CALL);
      this.#bus.port.callQuietly(this.#bus.handle, V.acknowledge, this.#id, ...some).catch(ignore);
    }
  }

  #fail(number: number, error: unknown): void {
    // Acknowledgements of earlier messages go first, so that Rust gets the outcomes in order.
    this.#acknowledge();
    this.#bus.port.callQuietly(this.#bus.handle, V.fail, this.#id, number, wellFormed(messageOf(error))).catch(ignore);
  }

  #refuse(waiting: Waiting): void {
    const { bus, topic, group } = { bus: this.#bus, topic: this.#topic, group: this.#options.group };
    const bytes = typeof waiting.raw === 'string' ? Buffer.byteLength(waiting.raw) : ((waiting.raw as Buffer | null)?.length ?? 0);
    bus.counts.malformed++;
    bus.counted();
    bus.port.callQuietly(bus.handle, V.refuse, this.#id, waiting.number, 'not JSON').catch(ignore);
    bus.emit('malformed', { topic, group, streamId: waiting.streamId, bytes });
  }

  #giveBackWaiting(): void {
    const numbers = this.#waiting.slice(this.#next).map((waiting) => waiting.number);
    this.#waiting = [];
    this.#next = 0;
    this.#giveBack(numbers);
  }

  #giveBack(numbers: number[]): void {
    for (let at = 0; at < numbers.length; at += PER_CALL) {
      const some = numbers.slice(at, at + PER_CALL);
      this.#bus.port.callQuietly(this.#bus.handle, V.giveBack, this.#id, ...some).catch(ignore);
    }
  }

  /** Rust has had these messages in flight for longer than `timeoutMs`. */
  #overdue(numbers: number[]): void {
    const timeoutMs = this.#options.timeoutMs ?? TIMEOUT_MS;
    const late = new Set(numbers);
    for (const number of numbers) {
      const call = this.#running.get(number);
      if (call === undefined) continue;
      const left = timeoutMs - (clock() - (call.context as DurableContext)[internals].since);
      if (left > 0) {
        this.#overdueIn(left, number);
        continue;
      }
      this.#running.delete(number);
      const error = new RedisError('timeout', `the handler has not ended within timeoutMs, ${timeoutMs} ms`);
      (call.context as DurableContext)[internals].abort(error);
      this.#fail(number, error);
      const { envelope } = call;
      this.#bus.failed({ topic: this.#topic, group: this.#options.group, envelopeId: envelope.id, corrId: envelope.corrId, error });
    }
    // Late messages that have not started go back: another consumer may be free.
    const waiting = this.#waiting.slice(this.#next);
    const stuck = waiting.filter(({ number }) => late.has(number)).map(({ number }) => number);
    this.#waiting = stuck.length > 0 ? waiting.filter(({ number }) => !late.has(number)) : waiting;
    this.#next = 0;
    this.#giveBack(stuck);
    if (!this.#isOver) this.#startMore();
  }

  /** Checks the message again in `ms` milliseconds, because its handler started later than the message arrived. */
  #overdueIn(ms: number, number: number): void {
    // A weak reference, so that the timer does not keep a subscription that has ended meanwhile.
    const ref = new WeakRef(this);
    void this.#bus.wait(Math.ceil(ms)).then(() => {
      const self = ref.deref();
      if (self === undefined || !self.#bus.members.has(self)) return;
      self.#overdue([number]);
    });
  }

  /** The consumer's lease has ended: its messages up to `upto` belong to other consumers now. */
  #lost(upto: number): void {
    const waiting = this.#waiting.slice(this.#next);
    this.#waiting = waiting.filter(({ number }) => number > upto);
    this.#next = 0;
    this.#giveBack(waiting.filter(({ number }) => number <= upto).map(({ number }) => number));
    const error = new RedisError('lease-lost', 'the message went to another consumer: this one gave no sign of life for claimAfterMs');
    for (const [number, call] of this.#running) {
      if (number <= upto) (call.context as DurableContext)[internals].abort(error);
    }
  }

  #abortRunning(error: RedisError): void {
    for (const call of this.#running.values()) (call.context as DurableContext)[internals].abort(error);
  }
}

/** Writes the number of earlier attempts, and the error of the last attempt, into an envelope. */
export function addEarlierAttempts(envelope: Envelope, before: { prior: number; lastError: string | null }): void {
  envelope.attempts += before.prior;
  if (before.lastError !== null) envelope.lastError = before.lastError;
}

/** An ISO time becomes the first stream id of that millisecond. Rust checks any other value. */
function startOf(from: unknown): unknown {
  if (typeof from !== 'string' || !/^\d{4}-/.test(from) || /^\d+-\d+$/.test(from)) return from;
  const time = Date.parse(from);
  return time >= 0 ? String(time) : from;
}

/** Replaces lone surrogates, which UTF-8 cannot express. */
function wellFormed(text: string): string {
  return text.isWellFormed() ? text : text.toWellFormed();
}
