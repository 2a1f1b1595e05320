/** The private state of the public classes: the property that holds it, and its common interface. */

import type { Endpoint } from './diagnostics.js';
import type { Port } from './port.js';

/** The property of a public object that holds its private state. The symbol is the same for every copy of the package. */
export const internals: unique symbol = Symbol.for('redis-backplane.internals') as never;

/**
 * Gives a public object its private state. Public classes have no `#private` members, because these cannot be read through a `Proxy`, and because no
 * other class can implement the type of a class with `#private` members.
 */
export function hide<T>(owner: { readonly [internals]: T }, hidden: T): void {
  Object.defineProperty(owner, internals, { value: hidden });
}

/** The port and the handle of a native target, and the server that it uses. */
export interface Internals {
  readonly port: Port;
  readonly handle: number;
  readonly endpoint: Endpoint;
}

/** A native target with numbered calls. The number of a call that waits is given to another call that ends the wait. */
export interface NumberingTarget extends Internals {
  nextId(): number;
}

// Older versions of Node define `Symbol.asyncDispose` in the main VM context only. Jest runs tests in another VM context, where the classes here, and
// compiled `await using`, need the symbol too.
if (Symbol.asyncDispose === undefined) {
  Object.defineProperty(Symbol, 'asyncDispose', { value: Symbol.for('Symbol.asyncDispose') });
}
