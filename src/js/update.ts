/**
 * Updates of a value by a function: read, change, compare and set, and again after a conflict.
 *
 * Concurrent updates of one key in this process become one: their changes are applied one after another to the value that was read, and the result is
 * written once. They compete only with other processes.
 */

import { checkFunction, checkTtl, checkWhole, json, optionsOf, parse, refuseUnknown } from './arguments.js';
import { RedisError } from './errors.js';

/** Options of {@link KVStore.update}. */
export interface UpdateOptions {
  /** Seconds until the new value expires; fractions allowed, above 0. Default: the present expiry is kept. */
  ttlSec?: number | undefined;
  /** The most attempts while other processes keep changing the value: a whole number from 1. After that kind `timeout`. Default 10. */
  maxAttempts?: number | undefined;
}

/** The stored value of a key. */
interface Found {
  /** The stored text; `null` if there is no value. */
  readonly text: string | null;
}

/** The storage whose values are updated. */
export interface Cells<F extends Found, W> {
  /** The name of the public method, for errors. */
  readonly method: string;
  /** Is the change called if there is no value? If not, the outcome of the update is then `null`. */
  readonly createsMissing: boolean;
  read(key: string, attempt: number): Promise<F>;
  /**
   * If the stored value is still `found`: writes `text`, or deletes the value if `text` is `null`. `false`: the value has changed. `expiry` in
   * seconds: `undefined` keeps the present expiry, `null` removes it.
   */
  write(key: string, found: F, text: string | null, expiry: number | null | undefined): Promise<W | false>;
}

/** The outcome of an update: the result of the change, the previous value, and the answer of `write`, if the value was written. */
export interface Updated<F, W> {
  readonly value: unknown;
  readonly found: F;
  readonly written: W | undefined;
}

interface Change<F, W> {
  change(current: unknown): unknown;
  ttlSec: number | undefined;
  maxAttempts: number;
  attempts: number;
  outcome: unknown;
  resolve(updated: Updated<F, W>): void;
  reject(error: unknown): void;
}

const DEFAULT_ATTEMPTS = 10;

/** The updates of one store. */
export class Updates<F extends Found, W> {
  readonly #cells: Cells<F, W>;
  /** The changes that wait for the next attempt, by key. A key has an entry while its updates run. */
  readonly #waiting = new Map<string, Change<F, W>[]>();

  constructor(cells: Cells<F, W>) {
    this.#cells = cells;
  }

  async update(key: string, change: (current: unknown) => unknown, options?: UpdateOptions): Promise<Updated<F, W>> {
    const { method } = this.#cells;
    const { ttlSec, maxAttempts = DEFAULT_ATTEMPTS, ...rest } = optionsOf(`${method}: options`, options);
    refuseUnknown(method, rest, ['ttlSec', 'maxAttempts']);
    checkFunction(`${method}: change`, change);
    if (ttlSec !== undefined) checkTtl(`${method}: ttlSec`, ttlSec);
    checkWhole(`${method}: maxAttempts`, maxAttempts, 1);
    return new Promise((resolve, reject) => {
      const mine: Change<F, W> = { change, ttlSec, maxAttempts, attempts: 0, outcome: null, resolve, reject };
      const waiting = this.#waiting.get(key);
      if (waiting !== undefined) {
        waiting.push(mine);
      } else {
        this.#waiting.set(key, [mine]);
        void this.#run(key);
      }
    });
  }

  /** Makes the waiting changes of `key`, until none waits. Never rejects. */
  async #run(key: string): Promise<void> {
    for (;;) {
      const waiting = this.#waiting.get(key) ?? [];
      if (waiting.length === 0) break;
      const changes = waiting.splice(0);
      try {
        await this.#commit(key, changes, waiting);
      } catch (error) {
        // Rejecting a change that is already settled has no effect.
        for (const change of changes) change.reject(error);
      }
    }
    this.#waiting.delete(key);
  }

  /** Makes `changes` and settles each of them. Changes that arrive in `waiting` before an attempt take part in the attempt. */
  async #commit(key: string, changes: Change<F, W>[], waiting: Change<F, W>[]): Promise<void> {
    const cells = this.#cells;
    let open = changes;
    for (let attempt = 0; open.length > 0; attempt++) {
      const found = await cells.read(key, attempt);
      const joining = waiting.splice(0);
      // Not `push(...joining)`: there may be more changes than a call can take as arguments.
      for (const change of joining) changes.push(change);
      open = open === changes ? changes : open.concat(joining);
      const { applied, text, expiry } = apply(cells, open, found.text);
      const unchanged = text === found.text && (text === null || expiry === undefined);
      const written = applied.length === 0 || unchanged ? undefined : await cells.write(key, found, text, expiry);
      if (written !== false) {
        for (const change of applied) change.resolve({ value: change.outcome, found, written });
        return;
      }
      open = applied.filter((change) => {
        change.attempts++;
        if (change.attempts < change.maxAttempts) return true;
        const message = `${cells.method}: maxAttempts, ${change.maxAttempts}, are used up: others kept changing the value`;
        change.reject(new RedisError('timeout', message, { retryable: true, delivery: 'rejected' }));
        return false;
      });
    }
  }
}

/** Applies `changes` one after another. A change that throws is rejected and left out. `expiry` is as in {@link Cells.write}. */
function apply<F extends Found, W>(
  { method, createsMissing }: Cells<F, W>,
  changes: readonly Change<F, W>[],
  stored: string | null,
): { applied: Change<F, W>[]; text: string | null; expiry: number | null | undefined } {
  const applied: Change<F, W>[] = [];
  let text = stored;
  let expiry: number | null | undefined;
  for (const change of changes) {
    try {
      // Parsed separately for each change, so that a change that modifies its object does not affect the other changes.
      const next = text === null && !createsMissing ? null : change.change(text === null ? null : parse(text));
      if (typeof next === 'object' && next !== null && 'then' in next && typeof next.then === 'function') {
        const message = `${method}: change: expected a function that returns the next value at once, got one that returns a promise`;
        throw new RedisError('config', message);
      }
      if (next === null) {
        text = null;
        expiry = null;
      } else {
        const written = json(`${method}: value`, next);
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
