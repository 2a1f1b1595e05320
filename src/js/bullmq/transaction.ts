/** Transactions and pipelines of a BullMQ client. */

import { RedisError } from '../errors.js';
import { hide, internals } from '../internals.js';
import type { Channel, Step } from './channel.js';
import { addCommands } from './commands.js';
import type { BullMQFields, BullMQResult, BullMQTransaction } from './interface.js';
import { toRecord, type Word, word, wordsOf } from './words.js';

interface TransactionStep extends Step {
  readonly shape?: ((reply: unknown) => unknown) | undefined;
}

interface TransactionInternals {
  readonly channel: Channel;
  readonly atomic: boolean;
  /** Throws if the client has ended. */
  readonly checkOpen: () => void;
  readonly steps: TransactionStep[];
}

export class Transaction implements BullMQTransaction {
  /** @internal */
  declare readonly [internals]: TransactionInternals;

  /** @param isOpen Throws if the client has ended. */
  constructor(channel: Channel, atomic: boolean, checkOpen: () => void) {
    addCommands(Transaction.prototype, (transaction, words) => add(transaction, words));
    hide(this, { channel, atomic, checkOpen, steps: [] });
  }

  hgetall(key: string): this {
    return add(this, ['HGETALL', key], toRecord);
  }

  hset(key: string, ...data: [BullMQFields] | unknown[]): this {
    return add(this, ['HSET', key, ...wordsOf(data)]);
  }

  hscan(key: string, cursor: string | number, ...more: [options?: { COUNT?: number | undefined }] | unknown[]): this {
    return add(this, ['HSCAN', key, word(cursor), ...count(more)]);
  }

  smembers(key: string): this {
    return add(this, ['SMEMBERS', key]);
  }

  sscan(key: string, cursor: string | number, ...more: [options?: { COUNT?: number | undefined }] | unknown[]): this {
    return add(this, ['SSCAN', key, word(cursor), ...count(more)]);
  }

  zrange(key: string, start: number, end: number, ...more: unknown[]): this {
    return add(this, ['ZRANGE', key, word(start), word(end), ...wordsOf(more)]);
  }

  lrange(key: string, start: number, end: number): this {
    return add(this, ['LRANGE', key, word(start), word(end)]);
  }

  llen(key: string): this {
    return add(this, ['LLEN', key]);
  }

  del(...keys: string[]): this {
    return keys.length === 0 ? this : add(this, ['DEL', ...keys]);
  }

  runCommand(name: string, args: readonly unknown[]): this {
    const { steps, channel } = this[internals];
    steps.push({ script: channel.script(name), words: args.map(word) });
    return this;
  }

  async exec(): Promise<BullMQResult[] | null> {
    const own = this[internals];
    own.checkOpen();
    const steps = own.steps.splice(0);
    if (steps.length === 0) return [];
    if (!own.atomic) return Promise.all(steps.map((step) => alone(own.channel, step)));
    const results = (await own.channel.transaction(steps)) as [error: string | null, reply: unknown][] | null;
    return (
      results?.map(([error, reply], at): BullMQResult => {
        if (error !== null) return [serverError(error), null];
        return [null, steps[at]?.shape?.(reply) ?? reply];
      }) ?? null
    );
  }
}

/** Adds a command, and returns the transaction. */
function add<T extends Transaction>(transaction: T, words: Word[], shape?: (reply: unknown) => unknown): T {
  transaction[internals].steps.push(shape === undefined ? { words } : { words, shape });
  return transaction;
}

async function alone(channel: Channel, { script, words, shape }: TransactionStep): Promise<BullMQResult> {
  try {
    const reply = await (script === undefined ? channel.command([...words]) : channel.run(script, words));
    return [null, shape === undefined ? reply : shape(reply)];
  } catch (error) {
    return [error as Error, null];
  }
}

function count(more: unknown[]): Word[] {
  const [options] = more as [{ COUNT?: number | undefined }?];
  if (typeof options === 'object') return options.COUNT == null ? [] : ['COUNT', word(options.COUNT)];
  return wordsOf(more);
}

/** The error of one command of a transaction whose other commands were executed. */
function serverError(line: string): RedisError {
  const serverCode = /^[A-Z][A-Z0-9_]*(?= |$)/.exec(line)?.[0];
  return new RedisError('server', line, { delivery: 'rejected', ...(serverCode === undefined ? {} : { serverCode }) });
}
