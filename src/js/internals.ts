/** The internals of the public classes: where they are kept, and what they have in common. */

import type { Endpoint } from './diagnostics.js';
import type { Port } from './port.js';

/** The key under which a public object keeps what is not public; the same for every copy of the package. */
export const internals: unique symbol = Symbol.for('redis-backplane.internals') as never;

/**
 * Gives a public object what it keeps to itself. Public objects have no `#private` members: through a `Proxy` of one these cannot be read, and a
 * class that has some is no type that another class could implement.
 */
export function hide<T>(owner: { readonly [internals]: T }, hidden: T): void {
  Object.defineProperty(owner, internals, { value: hidden });
}

/** How to reach a native object. */
export interface Internals {
  readonly port: Port;
  readonly handle: number;
  readonly endpoint: Endpoint;
}

/** A native object that numbers its calls: what one call starts, another one ends by that number. */
export interface NumberingTarget extends Internals {
  nextId(): number;
}

// Older Node versions define `Symbol.asyncDispose` in the main context only; a Jest test runs in another, where `await using`, compiled
// to look it up, needs it as much as the classes here.
if (Symbol.asyncDispose === undefined) {
  Object.defineProperty(Symbol, 'asyncDispose', { value: Symbol.for('Symbol.asyncDispose') });
}
