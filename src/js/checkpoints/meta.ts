/** Metadata of checkpoints. */

import { jsonArgument } from '../arguments.js';
import { configError } from '../errors.js';

/**
 * Metadata as JSON text.
 *
 * @throws RedisError of kind `config` if it is no object; `serialization` if JSON cannot express it.
 */
export function metaText(owner: string, meta: Record<string, unknown> | undefined): string {
  if (meta === undefined) return '{}';
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) throw configError(`${owner}: meta`, 'an object', meta);
  return jsonArgument(`${owner}: meta`, meta);
}
