/**
 * The port: it sends calls to Rust and receives their outcomes, many at a time.
 *
 * A call makes a promise, which is kept in a table by number. The words and bytes of calls are collected until the next promise job. Then one native
 * call sends them all. One wake-up announces any number of outcomes, which are read in flat arrays. The port uses no timer, no `process.nextTick` and
 * no `queueMicrotask`, so fake timers do not stop it.
 */

import { bytesOf } from './bytes.js';
import { ArgumentKind, KIND_SHIFT, MAX_BYTES, NOBODY, Tag } from './codes.js';
import { debugCall, isDebugging } from './debug.js';
import { commandsAreTraced, type Endpoint, traceCommand } from './diagnostics.js';
import { configError, describe, type Failure, messageOf, RedisError, toError, warnOfListener } from './errors.js';
import { membersOf } from './members.js';
import { native, verbName } from './native.js';

/** The number of collected bytes, and of collected words, from which the calls are sent at once. */
const FLUSH_BYTES = 256 * 1024;
const FLUSH_WORDS = 16 * 1024;
/** The number of collected calls from which they are sent at once, so that the server starts while further calls are being made. */
const FLUSH_CALLS = 128;
/** The largest buffer that stays allocated between submissions. */
const KEPT_BYTES = 1024 * 1024;
/** The longest text that is written by a loop: up to this length the loop is faster than `Buffer.write`. */
const LOOP_MAX_CHARS = 24;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  /** Does the waiting call keep the process alive? */
  holds: boolean;
}

/** The server of a manager; with several servers, the first server that is asked. */
export interface Server {
  address: string;
  /** `null` for a Unix socket and for `memory://`. */
  port: number | null;
  db: number;
  isCluster: boolean;
}

/** Receives the events of one handle. */
export type EventHandler = (event: { event: string; [field: string]: unknown }) => void;

/** Receives the deliveries to one handle. Must not throw. */
export type DeliveryHandler = (values: unknown[]) => void;

/** A handler, which the port references strongly or weakly. */
type Held<T extends object> = T | WeakRef<T>;

const settled: Promise<void> = Promise.resolve();

class Port {
  readonly #drain = (): void => this.#readOutcomes();
  readonly #id = openPort(this.#drain);
  readonly #flush = (): void => this.#submit();
  readonly #waiting: (Waiting | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #handlers = new Map<number, Held<EventHandler>>();
  readonly #receivers = new Map<number, Held<DeliveryHandler>>();
  readonly #endpoints = new Map<number, Endpoint>();
  readonly #owed = new Set<() => void>();
  readonly #collected = new FinalizationRegistry<number>((handle) => this.release(handle));
  /** The numbers and tags of the last drained outcomes. The native side writes them. */
  readonly #heads = new Uint32Array(2 * 1024);
  #holding = 0;
  #held = false;
  #isFlushPlanned = false;
  #words = new Uint32Array(4096);
  #wordCount = 0;
  #callCount = 0;
  #bytes = Buffer.allocUnsafeSlow(64 * 1024);
  #view = new DataView(this.#bytes.buffer);
  #byteCount = 0;

  /** Calls `verb` on `target`. The promise settles exactly once and keeps the process alive until then. */
  call(target: number, verb: number, ...args: unknown[]): Promise<unknown> {
    if (isDebugging || commandsAreTraced()) return this.#observed(target, verb, args);
    return this.#call(target, verb, args, true);
  }

  /** As {@link call}, with the arguments in an array. The array may be the user's own, so it is read only once. */
  callWith(target: number, verb: number, given: readonly unknown[]): Promise<unknown> {
    const args = [...given];
    if (isDebugging || commandsAreTraced()) return this.#observed(target, verb, args);
    return this.#call(target, verb, args, true);
  }

  /** As {@link call}, but waiting for it does not keep the process alive. */
  callQuietly(target: number, verb: number, ...args: unknown[]): Promise<unknown> {
    return this.#call(target, verb, args, false);
  }

  /**
   * Calls `verb` on `target` at once, after all calls that were collected before. The outcome is not reported, which saves a wake-up. Throws if an
   * argument cannot cross.
   */
  post(target: number, verb: number, args: unknown[]): void {
    this.#pack(target, verb, NOBODY, args);
    this.#submit();
  }

  /**
   * Opens a native target. Throws if its options are wrong. The target is released when `owner` is garbage-collected.
   */
  open(kind: string, parent: number, options: unknown, owner?: object): number {
    const opened = this.#open(kind, parent, options);
    const endpoint = this.#endpoints.get(parent);
    if (endpoint !== undefined) this.#endpoints.set(opened.handle, endpoint);
    if (owner !== undefined) this.#collected.register(owner, opened.handle);
    return opened.handle;
  }

  /** Opens a manager, and returns its server. Only Rust reads the options, because they may hold a password. */
  openManager(options: unknown): { handle: number; server: Server } {
    const { handle, server } = this.#open('manager', 0, options);
    return { handle, server: server as Server };
  }

  #open(kind: string, parent: number, options: unknown): { handle: number; server?: Server | undefined } {
    const opened = JSON.parse(native.open(this.#id, kind, parent, optionsJson(options))) as
      | { handle: number; server?: Server | undefined }
      | { error: Failure };
    if ('error' in opened) throw toError(opened.error);
    return opened;
  }

  /** Releases a native target. */
  release(handle: number): void {
    this.#handlers.delete(handle);
    this.#receivers.delete(handle);
    this.#endpoints.delete(handle);
    native.release(this.#id, handle);
  }

  /**
   * Calls `handler` with the events of `handle`. The port lives as long as the process, so it keeps the handler, and every object that the handler
   * references, from being garbage-collected.
   */
  listen(handle: number, handler: EventHandler): void {
    this.#handlers.set(handle, handler);
  }

  /** As {@link listen}, with a weak reference to `handler`. */
  listenWeakly(handle: number, handler: EventHandler): void {
    this.#handlers.set(handle, new WeakRef(handler));
  }

  /** Calls `receiver` with the deliveries to `handle`. It must not throw. The port keeps it from being garbage-collected. */
  receive(handle: number, receiver: DeliveryHandler): void {
    this.#receivers.set(handle, receiver);
  }

  /** As {@link receive}, with a weak reference to `receiver`. */
  receiveWeakly(handle: number, receiver: DeliveryHandler): void {
    this.#receivers.set(handle, new WeakRef(receiver));
  }

  /** Keeps the process alive until {@link free} has been called as often as `retain`. */
  retain(): void {
    this.#holding++;
    if (!this.#held) this.#hold(true);
  }

  /** Undoes one {@link retain}. */
  free(): void {
    this.#holding--;
    if (this.#held && this.#holding === 0) this.#hold(false);
  }

  /** Names the server of `handle`, for traces. */
  describe(handle: number, endpoint: Endpoint): void {
    this.#endpoints.set(handle, endpoint);
  }

  state(manager: number): string {
    return native.state(this.#id, manager);
  }

  /** Calls `tell` once, before metrics are read the next time, so that counts can be sent together. */
  owe(tell: () => void): void {
    this.#owed.add(tell);
  }

  /** Undoes an {@link owe}. */
  disown(tell: () => void): void {
    this.#owed.delete(tell);
  }

  metrics(manager: number): string {
    this.#callOwed();
    return native.metrics(this.#id, manager);
  }

  prometheus(manager: number): string {
    this.#callOwed();
    return native.prometheus(this.#id, manager);
  }

  #callOwed(): void {
    if (this.#owed.size === 0) return;
    const owed = [...this.#owed];
    this.#owed.clear();
    for (const tell of owed) tell();
    this.#submit();
  }

  ioredisOptions(manager: number): string {
    return native.ioredisOptions(this.#id, manager);
  }

  #call(target: number, verb: number, args: unknown[], holds: boolean): Promise<unknown> {
    const number = this.#free.pop() ?? this.#waiting.length;
    try {
      this.#pack(target, verb, number, args);
    } catch (error) {
      if (number < this.#waiting.length) this.#free.push(number);
      return Promise.reject(error);
    }
    const promise = new Promise<unknown>((resolve, reject) => {
      this.#waiting[number] = { resolve, reject, holds };
    });
    if (holds) this.#holding++;
    this.#callCount++;
    if (this.#callCount >= FLUSH_CALLS || this.#byteCount >= FLUSH_BYTES || this.#wordCount >= FLUSH_WORDS) {
      this.#submit();
    } else if (!this.#isFlushPlanned) {
      this.#isFlushPlanned = true;
      settled.then(this.#flush);
    }
    return promise;
  }

  /** Writes a call, or throws and writes nothing. */
  #pack(target: number, verb: number, number: number, args: unknown[]): void {
    const wordMark = this.#wordCount;
    const byteMark = this.#byteCount;
    try {
      this.#reserveWords(4 + args.length);
      const words = this.#words;
      let at = this.#wordCount;
      words[at++] = verb;
      words[at++] = target;
      words[at++] = number;
      words[at++] = args.length;
      for (let i = 0; i < args.length; i++) words[at++] = this.#write(args[i]);
      this.#wordCount = at;
    } catch (error) {
      this.#wordCount = wordMark;
      this.#byteCount = byteMark;
      throw error;
    }
  }

  #observed(target: number, verb: number, args: unknown[]): Promise<unknown> {
    const call = (): Promise<unknown> => this.#call(target, verb, args, true);
    const run = isDebugging ? () => debugCall(verbName(verb), call) : call;
    return commandsAreTraced() ? this.#traced(target, verb, args, run) : run();
  }

  #traced(target: number, verb: number, args: unknown[], run: () => Promise<unknown>): Promise<unknown> {
    const endpoint = this.#endpoints.get(target);
    if (endpoint === undefined) return run();
    const name = verbName(verb);
    const [command] = args;
    if (name === 'manager.command' && typeof command === 'string') {
      return traceCommand(endpoint, command.toUpperCase(), args.length - 1, run);
    }
    return traceCommand(endpoint, name, args.length, run);
  }

  #submit(): void {
    this.#isFlushPlanned = false;
    if (this.#wordCount === 0) return;
    if (!this.#held && this.#holding > 0) this.#hold(true);
    const [words, wordCount, bytes, byteCount] = [this.#words, this.#wordCount, this.#bytes, this.#byteCount];
    this.#wordCount = 0;
    this.#byteCount = 0;
    this.#callCount = 0;
    try {
      native.submit(this.#id, words, wordCount, bytes, byteCount);
    } catch (error) {
      this.#refuse(words.subarray(0, wordCount), error);
    }
    if (bytes.length > KEPT_BYTES) this.#resize(64 * 1024, 0);
  }

  /** Rejects the calls of a submission that failed. If the native side has taken a call even so, its later outcome is ignored. */
  #refuse(words: Uint32Array, cause: unknown): void {
    for (let at = 0; at < words.length; at += 4 + (words[at + 3] as number)) {
      const number = words[at + 2] as number;
      const waiting = this.#waiting[number];
      if (waiting === undefined) continue;
      // The number is not used again, because an outcome for it may still come.
      this.#waiting[number] = undefined;
      if (waiting.holds) this.#holding--;
      const message = 'a defect in redis-backplane ended the call; what it was is on stderr';
      waiting.reject(new RedisError('closed', message, { delivery: 'maybe-executed', cause }));
    }
    if (this.#held && this.#holding === 0) this.#hold(false);
  }

  #hold(hold: boolean): void {
    this.#held = hold;
    native.holdPort(this.#id, hold);
  }

  /** Reads the outcomes. Called by the wake-up. Must not throw. */
  #readOutcomes(): void {
    const heads = this.#heads;
    let values: unknown[];
    // A batch that does not fill `heads` was the last. Outcomes that come after it get a wake-up of their own.
    do {
      values = native.drain(this.#id, heads);
      for (let at = 0; at < values.length; at++) {
        const number = heads[at * 2] as number;
        const tag = heads[at * 2 + 1] as Tag;
        const value = values[at];
        if (tag === Tag.Event || tag === Tag.Plain || tag === Tag.Delivery) {
          this.#deliver(number, tag, value);
          continue;
        }
        const waiting = this.#waiting[number];
        if (waiting === undefined) continue;
        this.#waiting[number] = undefined;
        this.#free.push(number);
        if (waiting.holds) this.#holding--;
        if (tag === Tag.Value) waiting.resolve(value);
        else if (tag === Tag.Ok) waiting.resolve('OK');
        else if (tag === Tag.Error) waiting.reject(toError(JSON.parse(value as string) as Failure));
        else waiting.resolve(decode(tag, value));
      }
    } while (values.length * 2 === heads.length);
    if (this.#held && this.#holding === 0) this.#hold(false);
  }

  /** Gives an event or a delivery to the handler of its handle. A handler that throws does not affect other handlers. */
  #deliver(handle: number, tag: Tag, value: unknown): void {
    try {
      if (tag === Tag.Event) deref(this.#handlers.get(handle))?.(JSON.parse(value as string) as Parameters<EventHandler>[0]);
      else deref(this.#receivers.get(handle))?.(tag === Tag.Plain ? (value as unknown[]) : list(value as unknown[]));
    } catch (error) {
      warnOfListener(error);
    }
  }

  /** Writes the bytes of an argument, and returns the word that describes the argument. */
  #write(value: unknown): number {
    switch (typeof value) {
      case 'string':
        return this.#text(ArgumentKind.Text, value);
      case 'number': {
        this.#reserveBytes(8);
        this.#view.setFloat64(this.#byteCount, value, true);
        this.#byteCount += 8;
        return word(ArgumentKind.Number, 8);
      }
      case 'undefined':
        return word(ArgumentKind.Absent, 0);
      case 'boolean':
        return word(value ? ArgumentKind.True : ArgumentKind.False, 0);
      case 'object':
        if (value === null) return word(ArgumentKind.Null, 0);
        if (ArrayBuffer.isView(value)) return this.#binary(value);
        return this.#text(ArgumentKind.Other, describe(value));
      default:
        return this.#text(ArgumentKind.Other, describe(value));
    }
  }

  #text(kind: ArgumentKind, text: string): number {
    const { length } = text;
    this.#reserveBytes(length * 3);
    const start = this.#byteCount;
    const bytes = this.#bytes;
    if (length <= LOOP_MAX_CHARS) {
      let at = 0;
      for (; at < length; at++) {
        const code = text.charCodeAt(at);
        if (code > 0x7f) break;
        bytes[start + at] = code;
      }
      if (at === length) {
        this.#byteCount = start + length;
        return word(kind, length);
      }
    }
    const written = bytes.write(text, start);
    if (written > MAX_BYTES) throw configError('argument', `at most ${MAX_BYTES} bytes`, text);
    // UTF-8 cannot express a lone surrogate: `Buffer.write` would silently write another character.
    if (written !== length && !text.isWellFormed()) {
      throw new RedisError('config', 'argument: expected a well-formed string, got one with a lone surrogate');
    }
    this.#byteCount = start + written;
    return word(kind, written);
  }

  #binary(value: ArrayBufferView): number {
    const bytes = bytesOf('argument', value);
    const { length } = bytes;
    if (length > MAX_BYTES) throw configError('argument', `at most ${MAX_BYTES} bytes`, length);
    this.#reserveBytes(length);
    this.#bytes.set(bytes, this.#byteCount);
    this.#byteCount += length;
    return word(ArgumentKind.Bytes, length);
  }

  #reserveWords(count: number): void {
    const needed = this.#wordCount + count;
    if (needed <= this.#words.length) return;
    const grown = new Uint32Array(Math.max(needed, this.#words.length * 2));
    grown.set(this.#words.subarray(0, this.#wordCount));
    this.#words = grown;
  }

  #reserveBytes(count: number): void {
    const needed = this.#byteCount + count;
    if (needed > this.#bytes.length) this.#resize(Math.max(needed, this.#bytes.length * 2), this.#byteCount);
  }

  #resize(size: number, keep: number): void {
    const bytes = allocate(size);
    if (keep > 0) bytes.set(this.#bytes.subarray(0, keep));
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

function openPort(drain: () => void): number {
  try {
    return native.openPort(drain);
  } catch (cause) {
    throw new RedisError('connection', `the operating system refuses what the native side needs: ${messageOf(cause)}`, { cause });
  }
}

function allocate(size: number): Buffer<ArrayBuffer> {
  try {
    return Buffer.allocUnsafeSlow(size);
  } catch (cause) {
    throw new RedisError('overloaded', `no memory for ${size} bytes of commands: ${messageOf(cause)}`, { cause });
  }
}

/** The handler, if it was not garbage-collected. */
function deref<T extends object>(held: Held<T> | undefined): T | undefined {
  return typeof held === 'function' ? held : (held as WeakRef<T> | undefined)?.deref();
}

function word(kind: ArgumentKind, length: number): number {
  return ((kind << KIND_SHIFT) | length) >>> 0;
}

function decode(tag: Tag, value: unknown): unknown {
  switch (tag) {
    case Tag.Json:
      return parse(value as string);
    case Tag.Ok:
      return 'OK';
    case Tag.List:
      return list(value as unknown[]);
    case Tag.Error:
      return toError(JSON.parse(value as string) as Failure);
    default:
      return value;
  }
}

/** The values of a flat array of tag and value, tag and value … */
function list(flat: unknown[]): unknown[] {
  const values: unknown[] = new Array(flat.length / 2);
  for (let at = 0; at < values.length; at++) values[at] = decode(flat[at * 2] as Tag, flat[at * 2 + 1]);
  return values;
}

/** Parses JSON. Text that is not JSON is returned as a string, because other programs store plain text. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * Options as JSON. A value that JSON cannot express becomes a description for Rust's error message, and bytes become Latin-1 text.
 *
 * @param instead Replacements for members of `options`; `undefined` leaves a member out.
 */
export function optionsJson(options: unknown, instead: Readonly<Record<string, unknown>> = {}): string {
  const special = (name: string): { $: string } => ({ $: name });
  /** The objects that are being written. An object may occur twice, but not inside itself. */
  const open = new Set<unknown>();
  // A member that is `undefined` counts as not given.
  const written = (value: object): unknown => {
    let members: object;
    try {
      members = membersOf('', value);
    } catch {
      return special(describe(value));
    }
    const all: Record<string, unknown> = {};
    // Members that are not enumerable too: users hide passwords from logs that way.
    for (const name of Object.getOwnPropertyNames(members)) {
      const isReplaced = value === options && Object.hasOwn(instead, name);
      const inner: unknown = isReplaced ? instead[name] : (members as Record<string, unknown>)[name];
      if (inner !== undefined) define(all, name, plain(inner));
    }
    return all;
  };
  const plain = (value: unknown): unknown => {
    switch (typeof value) {
      case 'number':
        return Number.isFinite(value) ? value : special(String(value));
      case 'string':
        return value.isWellFormed() ? value : special('a string with a lone surrogate');
      case 'bigint':
        return special('a BigInt');
      case 'function':
      case 'symbol':
        return special(`a ${typeof value}`);
      case 'object': {
        if (value === null) return null;
        if (ArrayBuffer.isView(value)) {
          return { ...special(describe(value)), bytes: Buffer.from(bytesOf('options', value)).toString('latin1') };
        }
        if (open.has(value)) return special('an object that contains itself');
        open.add(value);
        const text = Array.isArray(value) ? value.map(plain) : written(value);
        open.delete(value);
        return text;
      }
      default:
        return value;
    }
  };
  return JSON.stringify(plain(options) ?? null);
}

/** Sets a member. Unlike an assignment, it also works for a member named `__proto__`. */
function define(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

let only: Port | undefined;

/** The port of this copy of the package, opened at first use. */
export function port(): Port {
  only ??= new Port();
  return only;
}

export type { Port };

/** The error for a value from Rust whose shape this version does not know. */
export function unexpected(what: string): RedisError {
  return new RedisError('serialization', `${what}: the native side answered in an unknown shape`);
}
