/**
 * Updates: read, change, compare-and-set; again after a conflict.
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
  /** Attempts before it gives up because others keep changing the value: a whole number from 1. Default 10. */
  maxAttempts?: number | undefined;
}

/** What is at a key. */
interface Found {
  /** As it is stored; `null` where nothing is. */
  readonly text: string | null;
}

/** Where values are that are updated. */
export interface Cells<F extends Found, W> {
  /** The method that is named in errors. */
  readonly method: string;
  /** Is a change asked for a value where none is? Otherwise its outcome is `null`. */
  readonly makes: boolean;
  read(key: string, attempt: number): Promise<F>;
  /** Writes `text`, or deletes where it is `null`, if what is there is still what was found. Expiry: absent to keep it, null for none. */
  write(key: string, found: F, text: string | null, expiry: number | null | undefined): Promise<W | false>;
}

/** What became of an update: what the change gave, what stood there before, and what writing gave, unless nothing was to be written. */
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
  /** Those that have not begun, by key. A key is here while something of it runs. */
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
  async #commit(key: string, changes: Change<F, W>[], waiting: Change<F, W>[]): Promise<void> {
    const cells = this.#cells;
    let open = changes;
    for (let attempt = 0; open.length > 0; attempt++) {
      const found = await cells.read(key, attempt);
      const joining = waiting.splice(0);
      // One by one: there may be more than the stack can take as arguments.
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

/** What comes of `changes`, one after another; one that throws is rejected and left out. Expiry: absent to keep it, null for none. */
function apply<F extends Found, W>(
  { method, makes }: Cells<F, W>,
  changes: readonly Change<F, W>[],
  stored: string | null,
): { applied: Change<F, W>[]; text: string | null; expiry: number | null | undefined } {
  const applied: Change<F, W>[] = [];
  let text = stored;
  let expiry: number | null | undefined;
  for (const change of changes) {
    try {
      // Parsed for each of them: what one does to its object is nothing to the others.
      const next = text === null && !makes ? null : change.change(text === null ? null : parse(text));
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
