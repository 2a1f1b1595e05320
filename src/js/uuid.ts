/** Unique names. */

import type { UUID } from 'node:crypto';

let make: (() => UUID) | undefined;

/** A random UUID. `node:crypto` is loaded with the first: it takes longer to load than all of this package's code. */
export function uuid(): UUID {
  make ??= (require('node:crypto') as typeof import('node:crypto')).randomUUID;
  return make();
}
