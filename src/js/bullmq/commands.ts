/** Every Redis command as a method of a BullMQ client, as ioredis has it. */

import { native } from '../native.js';
import { type Word, wordsOf } from './words.js';

/** Runs a command, or adds it to a transaction. */
type Run<C> = (client: C, words: Word[]) => unknown;

const complete = new WeakSet<object>();

/**
 * Adds to `prototype`, at the first call, a method for each Redis command that has none. A method takes the command's arguments in the server's
 * order. A class calls this when it is first used, not when it is loaded: adding hundreds of methods takes longer than loading the rest of the
 * package.
 */
export function addCommands<C extends object>(prototype: C, run: Run<C>): void {
  if (complete.has(prototype)) return;
  complete.add(prototype);
  for (const command of native.commands()) {
    const name = command.toLowerCase();
    if (name in prototype) continue;
    const method = function (this: C, ...args: unknown[]): unknown {
      return run(this, [command, ...wordsOf(args)]);
    };
    Object.defineProperty(prototype, name, { value: method, configurable: true, writable: true });
  }
}
