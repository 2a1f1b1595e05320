/** Checks of the arguments that do not cross to Rust as they are: functions, options, signals, values that become JSON. */

import { configError, describe, RedisError } from './errors.js';
import { membersOf } from './members.js';
import { native } from './native.js';

/** The longest time in milliseconds: the largest signed 32-bit number, as for `setTimeout`. */
export const MAX_MS = 2_147_483_647;
const MAX_TTL_SEC = 9_007_199_254_740;

/** Throws if options are left that are not known, so that a misspelt option is never ignored. */
export function refuseUnknown(owner: string, rest: object, known: readonly string[]): void {
  const [name] = Object.keys(rest);
  if (name !== undefined) throw new RedisError('config', native.unknownOption(owner, name, known));
}

/** Checks options: `undefined`, or an object as {@link membersOf} takes it. */
export function optionsOf<T extends object>(name: string, options: T | undefined): T | Record<string, never> {
  if (options === undefined) return {};
  return objectOf(name, options);
}

/** Checks an object as {@link optionsOf} does, but `undefined` is refused too. */
export function objectOf<T extends object>(name: string, given: T): T {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw configError(name, 'an object', given);
  return membersOf(name, given);
}

export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw configError(name, 'a function', value);
}

export function checkWhole(name: string, value: unknown, least: number, most = Number.MAX_SAFE_INTEGER): void {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw configError(name, `a whole number from ${least} to ${most}`, value);
  }
}

/** Checks a number from `least` to `most`. */
export function checkNumber(name: string, unit: string, value: unknown, least: number, most: number): void {
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    throw configError(name, `a number${unit} from ${least} to ${most}`, value);
  }
}

/** Checks an expiry in seconds. */
export function checkTtl(name: string, value: unknown): void {
  if (typeof value !== 'number' || !(value > 0 && value <= MAX_TTL_SEC)) {
    throw configError(name, `a number of seconds above 0 and up to ${MAX_TTL_SEC}`, value);
  }
}

export function checkFlag(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean') throw configError(name, 'a boolean', value);
}

export function checkSignal(name: string, value: AbortSignal | undefined): void {
  if (value === undefined) return;
  if (typeof value !== 'object' || value === null || typeof value.aborted !== 'boolean' || typeof value.addEventListener !== 'function') {
    throw configError(name, 'an AbortSignal', value);
  }
}

/** The error of a call whose signal was aborted. */
export function cancelled(what: string, signal: AbortSignal | undefined): RedisError {
  return new RedisError('cancelled', `${what}: signal: aborted`, { cause: signal?.reason });
}

/** A value as JSON text, or an error if JSON cannot express the value. */
export function json(name: string, value: unknown): string | RedisError {
  // `JSON.stringify` would silently write `null`.
  if (typeof value === 'number' && !Number.isFinite(value)) return inexpressible(name, value);
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    return inexpressible(name, value, cause);
  }
  return text ?? inexpressible(name, value);
}

/**
 * An argument as JSON text.
 *
 * @throws RedisError of kind `serialization` if JSON cannot express it.
 */
export function jsonArgument(name: string, value: unknown): string {
  const text = json(name, value);
  if (typeof text === 'string') return text;
  throw text;
}

/** The error of a value that JSON cannot express: a function, a `BigInt`, a cycle, an object whose `toJSON` returns `undefined`. */
export function inexpressible(name: string, value: unknown, cause?: unknown): RedisError {
  const got = typeof value === 'object' ? 'a value that it cannot' : describe(value);
  return new RedisError('serialization', `${name}: expected a value that JSON can express, got ${got}`, { cause });
}

/** Parses JSON. Text that is not JSON is returned as a string, because other programs store plain text. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
