/** Random UUIDs. */

import type { UUID } from 'node:crypto';

let make: (() => UUID) | undefined;

/** A random UUID. `node:crypto` is loaded by the first call, because loading it takes longer than loading all of this package's code. */
export function uuid(): UUID {
  make ??= (require('node:crypto') as typeof import('node:crypto')).randomUUID;
  return make();
}
