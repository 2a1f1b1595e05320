/** The channel that a BullMQ client and its duplicates share: the calls to the server, and the defined scripts. */

import { RedisError, type RedisErrorKind } from '../errors.js';
import { internals } from '../internals.js';
import { verbs } from '../native.js';
import type { Port } from '../port.js';
import type { IRedisConnection } from '../ports.js';
import type { BullMQScript } from './interface.js';
import { type Word, word } from './words.js';

const V = verbs('bullmq', 'command', 'define', 'run', 'transaction', 'name');

/** A defined script, with its number on the native side. */
export interface Defined {
  readonly number: number;
  readonly keys: number;
  readonly lua: string;
}

/** A command of a transaction. */
export interface Step {
  readonly script?: Defined | undefined;
  readonly words: readonly Word[];
}

/** The message by which BullMQ recognizes the error of a connection. After such an error BullMQ tries again. */
const CLOSED = 'Connection is closed.';
const CONNECTION_KINDS: readonly RedisErrorKind[] = ['connection', 'timeout', 'closed', 'overloaded'];

/** The error of a client that has ended. */
export function ended(): RedisError {
  return new RedisError('closed', CLOSED);
}

function asClosed(error: RedisError): RedisError {
  const { redisErrorKind, serverCode, retryable, delivery } = error;
  return new RedisError(redisErrorKind, CLOSED, { retryable, delivery, cause: error, ...(serverCode === undefined ? {} : { serverCode }) });
}

/** Throws the error of a command. The error of a connection gets the message that BullMQ recognizes. */
function rethrow(error: unknown): never {
  throw error instanceof RedisError && CONNECTION_KINDS.includes(error.redisErrorKind) ? asClosed(error) : error;
}

/** Throws the error of an attempt to connect, always as the error of a connection: after any other error a worker would try again without a pause. */
function rethrowAsClosed(error: unknown): never {
  throw error instanceof RedisError ? asClosed(error) : error;
}

export class Channel {
  readonly port: Port;
  /** The handle of the native target that has the scripts. */
  readonly handle: number;
  readonly scripts = new Map<string, Defined>();
  #named: Promise<unknown> = Promise.resolve();

  constructor(readonly manager: IRedisConnection) {
    const own = manager[internals];
    this.port = own.port;
    this.handle = this.port.open('bullmq', own.handle, {}, this);
  }

  /** Calls `verb` on `handle`. */
  call(handle: number, verb: number, args: unknown[]): Promise<unknown> {
    return this.port.callWith(handle, verb, args).then(undefined, rethrow);
  }

  /** Calls `verb`, which must be one that connects, on `handle`. */
  connect(handle: number, verb: number, args: unknown[]): Promise<unknown> {
    return this.port.callWith(handle, verb, args).then(undefined, rethrowAsClosed);
  }

  command(words: Word[]): Promise<unknown> {
    return this.call(this.handle, V.command, words);
  }

  /** Names the connection of `handle`, before later calls on it. */
  name(handle: number, name: string): Promise<unknown> {
    const named = this.call(handle, V.name, [name]);
    this.#named = Promise.allSettled([this.#named, named]);
    return named;
  }

  /** Settles when every call of `name` so far has settled. */
  get named(): Promise<unknown> {
    return this.#named;
  }

  define(name: string, { numberOfKeys, lua }: BullMQScript): void {
    const known = this.scripts.get(name);
    if (known?.lua === lua && known.keys === numberOfKeys) return;
    const defined = { number: known?.number ?? this.scripts.size, keys: numberOfKeys, lua };
    this.scripts.set(name, defined);
    // Not awaited: calls cross in order, so the script is defined before it is run.
    this.port.callQuietly(this.handle, V.define, defined.number, lua).catch((error: Error) => process.emitWarning(error));
  }

  script(name: string): Defined {
    const script = this.scripts.get(name);
    if (script === undefined) throw new RedisError('config', `runCommand: name: expected that of a defined command, got ${name}`);
    return script;
  }

  run(script: Defined, args: readonly unknown[]): Promise<unknown> {
    return this.call(this.handle, V.run, [script.number, script.keys, ...args.map(word)]);
  }

  /** Resolves with the error line or `null`, and the reply, of each step. */
  transaction(steps: readonly Step[]): Promise<unknown> {
    const flat: unknown[] = [];
    for (const { script, words } of steps) {
      if (script === undefined) flat.push(words.length + 1, null, ...words);
      else flat.push(words.length + 2, script.number, script.keys, ...words);
    }
    return this.call(this.handle, V.transaction, flat);
  }
}
