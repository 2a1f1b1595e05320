/** Transactions and pipelines of a BullMQ client. */

import { RedisError } from '../errors.js';
import type { Channel, Step } from './channel.js';
import { addCommands } from './commands.js';
import type { BullMQFields, BullMQResult, BullMQTransaction } from './interface.js';
import { toRecord, type Word, word, wordsOf } from './words.js';

interface Shaped extends Step {
  readonly shape?: (reply: unknown) => unknown;
}

export class Transaction implements BullMQTransaction {
  readonly #channel: Channel;
  readonly #atomic: boolean;
  readonly #isOpen: () => void;
  readonly #steps: Shaped[] = [];

  /** @param isOpen Throws where the client has ended. */
  constructor(channel: Channel, atomic: boolean, isOpen: () => void) {
    addCommands(Transaction.prototype, (transaction, words) => transaction.#add(words));
    this.#channel = channel;
    this.#atomic = atomic;
    this.#isOpen = isOpen;
  }

  hgetall(key: string): this {
    return this.#add(['HGETALL', key], toRecord);
  }

  hset(key: string, ...data: [BullMQFields] | unknown[]): this {
    return this.#add(['HSET', key, ...wordsOf(data)]);
  }

  hscan(key: string, cursor: string | number, ...more: [options?: { COUNT?: number }] | unknown[]): this {
    return this.#add(['HSCAN', key, word(cursor), ...count(more)]);
  }

  smembers(key: string): this {
    return this.#add(['SMEMBERS', key]);
  }

  sscan(key: string, cursor: string | number, ...more: [options?: { COUNT?: number }] | unknown[]): this {
    return this.#add(['SSCAN', key, word(cursor), ...count(more)]);
  }

  zrange(key: string, start: number, end: number, ...more: unknown[]): this {
    return this.#add(['ZRANGE', key, word(start), word(end), ...wordsOf(more)]);
  }

  lrange(key: string, start: number, end: number): this {
    return this.#add(['LRANGE', key, word(start), word(end)]);
  }

  llen(key: string): this {
    return this.#add(['LLEN', key]);
  }

  del(...keys: string[]): this {
    return keys.length === 0 ? this : this.#add(['DEL', ...keys]);
  }

  runCommand(name: string, args: readonly unknown[]): this {
    this.#steps.push({ script: this.#channel.script(name), words: args.map(word) });
    return this;
  }

  async exec(): Promise<BullMQResult[] | null> {
    this.#isOpen();
    const steps = this.#steps.splice(0);
    if (steps.length === 0) return [];
    if (!this.#atomic) return Promise.all(steps.map((step) => this.#alone(step)));
    const results = (await this.#channel.transaction(steps)) as [error: string | null, reply: unknown][] | null;
    return (
      results?.map(([error, reply], at): BullMQResult => {
        if (error !== null) return [serverError(error), null];
        return [null, steps[at]?.shape?.(reply) ?? reply];
      }) ?? null
    );
  }

  async #alone({ script, words, shape }: Shaped): Promise<BullMQResult> {
    try {
      const reply = await (script === undefined ? this.#channel.command([...words]) : this.#channel.run(script, words));
      return [null, shape === undefined ? reply : shape(reply)];
    } catch (error) {
      return [error as Error, null];
    }
  }

  #add(words: Word[], shape?: (reply: unknown) => unknown): this {
    this.#steps.push(shape === undefined ? { words } : { words, shape });
    return this;
  }
}

function count(more: unknown[]): Word[] {
  const [options] = more as [{ COUNT?: number }?];
  if (typeof options === 'object') return options.COUNT == null ? [] : ['COUNT', word(options.COUNT)];
  return wordsOf(more);
}

/** The error of one command of a transaction; the others were executed. */
function serverError(line: string): RedisError {
  const serverCode = /^[A-Z][A-Z0-9_]*(?= |$)/.exec(line)?.[0];
  return new RedisError('server', line, { delivery: 'rejected', ...(serverCode === undefined ? {} : { serverCode }) });
}
