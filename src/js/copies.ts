/**
 * Copies of the package in one process. An object of one copy may be given to another, and its native calls go by number: both must
 * have the same calls. So each object says which copy made it, and what comes from another version is refused.
 */

import { configError, RedisError } from './errors.js';
import { internals } from './internals.js';
import { verbNames } from './native.js';

/** Under this key an object says which copy made it; the same for every version. */
const made: unique symbol = Symbol.for('redis-backplane.made') as never;

/** What is given to other objects. */
type Kind = 'RedisConnectionManager' | 'KVStore' | 'WorkerRegistry' | 'SessionStore' | 'CheckpointStore';

interface Made {
  readonly version: string;
  readonly kind: string;
}

const { version } = require('../package.json') as { version: string };
/** Two builds of one version may have other calls. */
const own = `${version} (calls ${fingerprint(verbNames.join())})`;

/** Eight digits that tell one text from another (32-bit FNV-1a). Loading a cryptographic one would cost more than all of the rest here. */
function fingerprint(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** Gives `owner` its internals, and marks it as made by this copy of the package. */
export function keep(owner: object, kind: Kind, hidden: unknown): void {
  Object.defineProperty(owner, internals, { value: hidden });
  Object.defineProperty(owner, made, { value: { version: own, kind } satisfies Made });
}

/** Does `value` belong to this package, to whatever copy and version? */
export function isOurs(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (internals in value || made in value);
}

/** Refuses what is no `kind` of this version, or of another copy of it. */
export function checkMade(name: string, kind: Kind, value: unknown): void {
  if (!isOurs(value)) {
    const isObject = typeof value === 'object' && value !== null;
    const expected = isObject ? `a ${kind} of this package, since a test double has nothing native behind it` : `a ${kind}`;
    throw configError(name, expected, value);
  }
  const { version: others, kind: is } = (value as { [made]?: Made | undefined })[made] ?? { version: 'an earlier one', kind };
  if (others !== own) {
    const message = `${name}: expected a ${kind} of this version of redis-backplane, ${own}, got one of another version, ${others}`;
    throw new RedisError('config', message);
  }
  if (is !== kind) throw new RedisError('config', `${name}: expected a ${kind}, got a ${is}`);
}
