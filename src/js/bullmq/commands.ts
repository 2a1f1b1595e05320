/** Every Redis command as a method of a BullMQ client, as the clients that BullMQ's users know have it. */

import { native } from '../native.js';
import { type Word, wordsOf } from './words.js';

/** Runs a command, or keeps it for later. */
type Run<C> = (client: C, words: Word[]) => unknown;

/**
 * Gives `prototype` a method for each command of Redis that it does not have. A method takes the command's arguments in
 * the server's order.
 */
export function addCommands<C extends object>(prototype: C, run: Run<C>): void {
  for (const command of native.commands()) {
    const name = command.toLowerCase();
    if (name in prototype) continue;
    const method = function (this: C, ...args: unknown[]): unknown {
      return run(this, [command, ...wordsOf(args)]);
    };
    Object.defineProperty(prototype, name, { value: method, configurable: true, writable: true });
  }
}
