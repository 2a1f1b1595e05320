/** Every Redis command as a method of a BullMQ client, as the clients that BullMQ's users know have it. */

import { native } from '../native.js';
import { type Word, wordsOf } from './words.js';

/** Runs a command, or keeps it for later. */
type Run<C> = (client: C, words: Word[]) => unknown;

const complete = new WeakSet<object>();

/**
 * Gives `prototype`, at the first call, a method for each command of Redis that it does not have. A method takes the command's arguments
 * in the server's order. A class asks for them when it is first used: hundreds of methods are more than all else that loading costs.
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
