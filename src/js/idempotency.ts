/** Idempotency: a function or an event that is handled once, whatever the number of callers. */

import { checkFunction, optionsOf } from './arguments.js';
import { checkMade } from './copies.js';
import { RedisError } from './errors.js';
import { internals } from './internals.js';
import { verbs } from './native.js';
import { optionsJson } from './port.js';
import type { IKVStore } from './ports.js';
import { within } from './within.js';

const V = verbs('kv', 'once', 'onceDone', 'onceFailed', 'deduplicateEvent');

/** Options of {@link once}. */
export interface OnceOptions {
  /** How long `fn` may take, in milliseconds from 1 to 2 147 483 647. Default 600 000, which is ten minutes. */
  timeoutMs?: number | undefined;
}

const DEFAULT_TIMEOUT_MS = 600_000;

/**
 * Runs `fn` unless a caller runs it now or has run it less than `ttlSec` ago. Of any number of concurrent callers, in any number of processes,
 * exactly one runs `fn`; the other callers get `null` at once.
 *
 * The key holds an opaque token from the start of `fn` until `ttlSec` after its success. While `fn` runs, a Rust thread renews the token, so an `fn`
 * that takes longer than `ttlSec`, or blocks the event loop, is not run twice. If `fn` fails, the key is free again. If its process dies, the key is
 * free after at most `ttlSec` (or a second, if that is longer): `fn` may have done its work or not. The result is not stored.
 *
 * If `fn` takes longer than `timeoutMs`, the caller gets kind `timeout`, the result of `fn` is dropped, and the key is free after at most `ttlSec`
 * (or a second). A call of `once` with the same key within `fn` returns `null`, as for other callers.
 *
 * @param key A key of the store, as for {@link KVStore.get}.
 * @param ttlSec Seconds, fractions allowed, above 0.
 * @returns The result of `fn`, or `null` if this caller did not run `fn`. If the server is away when `fn` succeeds, the call still succeeds: the key
 * is free `ttlSec` after the last renewal.
 * @throws The error of `fn`. RedisError of kind `config`, `connection`, `timeout`, … if the key could not be taken: `fn` did not run; `timeout`,
 * delivery `maybe-executed`, if `fn` took too long.
 */
export async function once<T>(
  kv: IKVStore,
  key: string,
  fn: () => Promise<T> | T,
  ttlSec: number,
  options?: OnceOptions,
): Promise<T | null> {
  const store = internalsOf('once', kv);
  const { port, handle } = store;
  checkText('once: key', key);
  checkFunction('once: fn', fn);
  const { timeoutMs = DEFAULT_TIMEOUT_MS, ...rest } = optionsOf('once: options', options);
  const id = store.nextId();
  if (!(await port.call(handle, V.once, id, key, ttlSec, optionsJson({ ...rest, timeoutMs })))) return null;
  let isLate = false;
  const late = (): RedisError => {
    isLate = true;
    return new RedisError('timeout', `once: fn took longer than timeoutMs, ${timeoutMs} ms`, { delivery: 'maybe-executed' });
  };
  let result: T;
  try {
    const work = fn();
    result = isThenable(work) ? await within(store, timeoutMs, Promise.resolve(work), late) : work;
  } catch (error) {
    if (isLate) throw error;
    // If this call fails, the key expires. The caller gets the error of the function, not that of this call.
    await port.call(handle, V.onceFailed, id).catch(() => {});
    throw error;
  }
  await port.call(handle, V.onceDone, id, ttlSec).catch(() => {});
  return result;
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && 'then' in value;
}

/**
 * Says whether an event is seen for the first time, and remembers it for `ttlSec`. Atomic: of any number of concurrent callers exactly one
 * gets `true`. The key is `seen:${eventId}`, in the store's namespace; a `~` at the start of the id or after a colon is written `%7E`.
 *
 * If a process dies after it has seen an event, no other process handles that event. Use {@link once} if another process must.
 *
 * @param eventId Not empty, at most 1 MiB.
 * @param ttlSec Seconds, fractions allowed, above 0.
 * @throws RedisError of kind `config`, `connection`, `timeout`, …
 */
export async function deduplicateEvent(kv: IKVStore, eventId: string, ttlSec: number): Promise<boolean> {
  const { port, handle } = internalsOf('deduplicateEvent', kv);
  checkText('deduplicateEvent: eventId', eventId);
  return (await port.call(handle, V.deduplicateEvent, eventId, ttlSec)) as boolean;
}

/** Refuses a text with a lone surrogate, which UTF-8 cannot express. Rust makes all other checks. */
function checkText(name: string, text: string): void {
  if (typeof text !== 'string' || text.isWellFormed()) return;
  throw new RedisError('config', `${name}: expected a well-formed string, got one with a lone surrogate`);
}

function internalsOf(name: string, kv: IKVStore): IKVStore[typeof internals] {
  checkMade(`${name}: kv`, 'KVStore', kv);
  return kv[internals];
}
