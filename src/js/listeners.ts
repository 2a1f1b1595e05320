/** Listeners of events: one that fails harms neither the others nor the process. */

import { AsyncLocalStorage } from 'node:async_hooks';
import { debugEvent, isDebugging } from './debug.js';
import { configError, warnOfListener } from './errors.js';

type Listener = (...args: never) => unknown;
/** Runs a listener in the context it was added in. */
type Run = (args: unknown[]) => unknown;

/**
 * Listeners by event. `E` says what the listeners of each are given.
 *
 * - Each runs in the asynchronous context (`AsyncLocalStorage`) it was added in.
 * - One that throws, or gives something whose `then` rejects, is reported as a process warning, and affects nobody else.
 * - A listener that is added twice to an event is one; added again it runs in the context of the last time.
 */
export class Listeners<E extends { [K in keyof E]: unknown[] }> {
  readonly #sets = new Map<keyof E, Map<Listener, Run>>();
  readonly #owner: string;
  readonly #names: readonly (keyof E & string)[];

  /** @param owner The class that has the events, as errors name it. */
  constructor(owner: string, names: readonly (keyof E & string)[]) {
    this.#owner = owner;
    this.#names = names;
  }

  /** @throws RedisError of kind `config` for an event there is none of, or a listener that is no function. */
  add<K extends keyof E & string>(event: K, listener: (...args: E[K]) => unknown): void {
    this.#add(event, listener, () => {});
  }

  /** Adds a listener that is removed before it runs. */
  addOnce<K extends keyof E & string>(event: K, listener: (...args: E[K]) => unknown, removed: () => void = () => {}): void {
    this.#add(event, listener, () => {
      this.remove(event, listener);
      removed();
    });
  }

  #add<K extends keyof E & string>(event: K, listener: (...args: E[K]) => unknown, before: () => void): void {
    if (!this.#names.includes(event)) throw configError(`${this.#owner}.on: event`, `one of ${this.#names.join(', ')}`, event);
    if (typeof listener !== 'function') throw configError(`${this.#owner}.on('${event}'): listener`, 'a function', listener);
    const inContext = AsyncLocalStorage.snapshot();
    const run: Run = (args) => {
      before();
      return inContext(() => listener(...(args as E[K])));
    };
    const set = this.#sets.get(event) ?? new Map<Listener, Run>();
    this.#sets.set(event, set.set(listener, run));
  }

  remove<K extends keyof E>(event: K, listener: (...args: E[K]) => unknown): void {
    this.#sets.get(event)?.delete(listener);
  }

  clear(): void {
    this.#sets.clear();
  }

  /** Does anyone listen to `event`? */
  has(event: keyof E): boolean {
    return (this.#sets.get(event)?.size ?? 0) > 0;
  }

  emit<K extends keyof E & string>(event: K, ...args: E[K]): void {
    if (isDebugging) debugEvent(this.#owner, event, args);
    const set = this.#sets.get(event);
    if (set === undefined || set.size === 0) return;
    for (const run of [...set.values()]) {
      try {
        const outcome = run(args);
        // An async listener's rejection would end the process. A thenable may be a function.
        if ((typeof outcome === 'object' && outcome !== null) || typeof outcome === 'function') {
          Promise.resolve(outcome).catch(warnOfListener);
        }
      } catch (error) {
        warnOfListener(error);
      }
    }
  }
}
