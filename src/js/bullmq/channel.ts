/** What a BullMQ client and its duplicates share: the way to the server, and the scripts that were defined. */

import { RedisError, type RedisErrorKind } from '../errors.js';
import { internals } from '../internals.js';
import { verbs } from '../native.js';
import type { Port } from '../port.js';
import type { IRedisConnection } from '../ports.js';
import type { BullMQScript } from './interface.js';
import { type Word, word } from './words.js';

const V = verbs('bullmq', 'command', 'define', 'run', 'transaction', 'name');

/** A script, by the number under which the native side has it. */
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

/** By this message BullMQ knows the error of a connection, after which it may try again. */
const CLOSED = 'Connection is closed.';
const OF_THE_CONNECTION: readonly RedisErrorKind[] = ['connection', 'timeout', 'closed', 'overloaded'];

/** The error of a client that has ended. */
export function ended(): RedisError {
  return new RedisError('closed', CLOSED);
}

function asClosed(error: RedisError): RedisError {
  const { redisErrorKind, serverCode, retryable, delivery } = error;
  return new RedisError(redisErrorKind, CLOSED, { retryable, delivery, cause: error, ...(serverCode === undefined ? {} : { serverCode }) });
}

/** Throws the error of a command as BullMQ understands it. */
function retold(error: unknown): never {
  throw error instanceof RedisError && OF_THE_CONNECTION.includes(error.redisErrorKind) ? asClosed(error) : error;
}

/** Throws the error of an attempt to connect. Whatever it is, a worker that took it for another would ask again without a pause. */
function notConnected(error: unknown): never {
  throw error instanceof RedisError ? asClosed(error) : error;
}

export class Channel {
  readonly port: Port;
  /** Of the native object that has the scripts. */
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
    return this.port.callWith(handle, verb, args).then(undefined, retold);
  }

  /** Calls `verb`, which connects, on `handle`. */
  connect(handle: number, verb: number, args: unknown[]): Promise<unknown> {
    return this.port.callWith(handle, verb, args).then(undefined, notConnected);
  }

  command(words: Word[]): Promise<unknown> {
    return this.call(this.handle, V.command, words);
  }

  /** Names the connection of `handle`, ahead of what is called on it afterwards. */
  name(handle: number, name: string): Promise<unknown> {
    const named = this.call(handle, V.name, [name]);
    this.#named = Promise.allSettled([this.#named, named]);
    return named;
  }

  /** Settles when what was named so far has its name. */
  get named(): Promise<unknown> {
    return this.#named;
  }

  define(name: string, { numberOfKeys, lua }: BullMQScript): void {
    const known = this.scripts.get(name);
    if (known?.lua === lua && known.keys === numberOfKeys) return;
    const defined = { number: known?.number ?? this.scripts.size, keys: numberOfKeys, lua };
    this.scripts.set(name, defined);
    // It is there before whatever is called after it.
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

  /** Gives for each step its error line or `null`, and its reply. */
  transaction(steps: readonly Step[]): Promise<unknown> {
    const flat: unknown[] = [];
    for (const { script, words } of steps) {
      if (script === undefined) flat.push(words.length + 1, null, ...words);
      else flat.push(words.length + 2, script.number, script.keys, ...words);
    }
    return this.call(this.handle, V.transaction, flat);
  }
}
