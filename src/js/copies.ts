/**
 * Copies of the package in one process. A user may pass an object of one copy to another copy. Native calls go by number, so both copies must have the
 * same verbs. Therefore each object names the version that made it, and objects of other versions are refused.
 */

import { configError, RedisError } from './errors.js';
import { internals } from './internals.js';
import { verbNames } from './native.js';

/** The property of an object that names the version that made it. The symbol is the same for every version. */
const made: unique symbol = Symbol.for('redis-backplane.made') as never;

/** The classes whose objects are passed to other objects. */
type Kind = 'RedisConnectionManager' | 'KVStore' | 'WorkerRegistry' | 'SessionStore' | 'CheckpointStore';

interface Made {
  readonly version: string;
  readonly kind: string;
}

const { version } = require('../package.json') as { version: string };
/** The version with a fingerprint of the verbs, because two builds of one version may have different verbs. */
const own = `${version} (calls ${fingerprint(verbNames.join())})`;

/** A hash of eight digits (32-bit FNV-1a). Loading `node:crypto` for a cryptographic hash would take longer than the rest of this file. */
function fingerprint(text: string): string {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

/** Gives `owner` its private state, and marks it as made by this version of the package. */
export function keep(owner: object, kind: Kind, hidden: unknown): void {
  Object.defineProperty(owner, internals, { value: hidden });
  Object.defineProperty(owner, made, { value: { version: own, kind } satisfies Made });
}

/** Was `value` made by any copy and version of this package? */
export function isOurs(value: unknown): boolean {
  return typeof value === 'object' && value !== null && (internals in value || made in value);
}

/** Throws unless `value` is a `kind` of this version, made by this or another copy. */
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
