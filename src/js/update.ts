/**
 * `KVStore.update`: read, change, compare-and-set; again after a conflict.
 *
 * Concurrent updates of one key in this process become one: their changes are applied one after another to the value that was read, and the result is
 * written once. They compete only with other processes.
 */

import { checkFunction, checkTtl, checkWhole, json, optionsOf, parse, refuseUnknown } from './arguments.js';
import { RedisError } from './errors.js';
import { verbs } from './native.js';
import type { Port } from './port.js';

/** Options of {@link KVStore.update}. */
export interface UpdateOptions {
  /** Seconds until the new value expires; fractions allowed, above 0. Default: the present expiry is kept. */
  ttlSec?: number | undefined;
  /** Attempts before it gives up because others keep changing the value: a whole number from 1. Default 10. */
  maxAttempts?: number | undefined;
}

interface Change {
  change(current: unknown): unknown;
  ttlSec: number | undefined;
  maxAttempts: number;
  attempts: number;
  outcome: unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

const V = verbs('kv', 'read', 'casRaw');
const DEFAULT_ATTEMPTS = 10;

/** The updates of one store. */
export class Updates {
  readonly #port: Port;
  readonly #handle: number;
  /** Those that have not begun, by key. A key is here while something of it runs. */
  readonly #waiting = new Map<string, Change[]>();

  constructor(port: Port, handle: number) {
    this.#port = port;
    this.#handle = handle;
  }

  async update(key: string, change: (current: unknown) => unknown, options: UpdateOptions | undefined): Promise<unknown> {
    const { ttlSec, maxAttempts = DEFAULT_ATTEMPTS, ...rest } = optionsOf('KVStore.update: options', options);
    refuseUnknown('KVStore.update', rest, ['ttlSec', 'maxAttempts']);
    checkFunction('KVStore.update: change', change);
    if (ttlSec !== undefined) checkTtl('KVStore.update: ttlSec', ttlSec);
    checkWhole('KVStore.update: maxAttempts', maxAttempts, 1);
    return new Promise((resolve, reject) => {
      const mine: Change = { change, ttlSec, maxAttempts, attempts: 0, outcome: null, resolve, reject };
      const waiting = this.#waiting.get(key);
      if (waiting !== undefined) {
        waiting.push(mine);
      } else {
        this.#waiting.set(key, [mine]);
        void this.#run(key);
      }
    });
  }

  /** Takes what waits for `key`, until nothing does. Never rejects. */
  async #run(key: string): Promise<void> {
    for (;;) {
      const waiting = this.#waiting.get(key) ?? [];
      if (waiting.length === 0) break;
      const changes = waiting.splice(0);
      try {
        await this.#commit(key, changes, waiting);
      } catch (error) {
        // Those that are settled already take no notice.
        for (const change of changes) change.reject(error);
      }
    }
    this.#waiting.delete(key);
  }

  /** Makes `changes` and settles each of them. What comes to `waiting` before an attempt takes part in it. */
  async #commit(key: string, changes: Change[], waiting: Change[]): Promise<void> {
    let open = changes;
    for (let attempt = 0; open.length > 0; attempt++) {
      const stored = (await this.#port.call(this.#handle, V.read, key, attempt)) as string | null;
      const joining = waiting.splice(0);
      // One by one: there may be more than the stack can take as arguments.
      for (const change of joining) changes.push(change);
      open = open === changes ? changes : open.concat(joining);
      const { applied, text, expiry } = apply(open, stored);
      const unchanged = text === stored && (text === null || expiry === undefined);
      if (applied.length === 0 || unchanged || (await this.#port.call(this.#handle, V.casRaw, key, stored, text, expiry))) {
        for (const change of applied) change.resolve(change.outcome);
        return;
      }
      open = applied.filter((change) => {
        change.attempts++;
        if (change.attempts < change.maxAttempts) return true;
        const message = `KVStore.update: maxAttempts, ${change.maxAttempts}, are used up: others kept changing the value`;
        change.reject(new RedisError('timeout', message, { retryable: true, delivery: 'rejected' }));
        return false;
      });
    }
  }
}

/** What comes of `changes`, one after another; one that throws is rejected and left out. Expiry: absent to keep it, null for none. */
function apply(
  changes: readonly Change[],
  stored: string | null,
): { applied: Change[]; text: string | null; expiry: number | null | undefined } {
  const applied: Change[] = [];
  let text = stored;
  let expiry: number | null | undefined;
  for (const change of changes) {
    try {
      // Parsed for each of them: what one does to its object is nothing to the others.
      const next = change.change(text === null ? null : parse(text));
      if (typeof next === 'object' && next !== null && 'then' in next && typeof next.then === 'function') {
        const message = 'KVStore.update: change: expected a function that returns the next value at once, got one that returns a promise';
        throw new RedisError('config', message);
      }
      if (next === null) {
        text = null;
        expiry = null;
      } else {
        const written = json('KVStore.update: value', next);
        if (typeof written !== 'string') throw written;
        text = written;
        if (change.ttlSec !== undefined) expiry = change.ttlSec;
      }
      change.outcome = next;
      applied.push(change);
    } catch (error) {
      change.reject(error);
    }
  }
  return { applied, text, expiry };
}
