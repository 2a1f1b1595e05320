/** The options that describe an owner. */

import { checkNumber, checkWhole, MAX_MS } from '../arguments.js';
import { configError } from '../errors.js';
import type { NumberingTarget } from '../internals.js';
import type { OwnerOptions } from './options.js';

/** The least lease in milliseconds. */
const LEAST_LEASE_MS = 100;

/**
 * The options of an owner, checked. A worker may be a registry's whole record, of which only id and epoch are kept.
 *
 * @throws RedisError of kind `config`.
 */
export function ownerOptions(call: string, { leaseMs, worker }: OwnerOptions): OwnerOptions {
  if (leaseMs !== undefined) checkNumber(`${call}: leaseMs`, ' of milliseconds', leaseMs, LEAST_LEASE_MS, MAX_MS);
  if (worker === undefined) return { leaseMs };
  if (typeof worker !== 'object' || worker === null) throw configError(`${call}: worker`, 'an object with id and epoch', worker);
  const { id, epoch } = worker;
  if (typeof id !== 'string') throw configError(`${call}: worker.id`, 'a string', id);
  checkWhole(`${call}: worker.epoch`, epoch, 0);
  return { leaseMs, worker: { id, epoch } };
}

/** A store that knows its open resumers and watchers. */
export interface Opening extends NumberingTarget {
  /** The functions that end them. */
  readonly open: Set<() => Promise<void>>;
}
