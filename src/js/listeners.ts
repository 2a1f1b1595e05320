/** Listeners of events. A failing listener affects neither the other listeners nor the process. */

import { AsyncLocalStorage } from 'node:async_hooks';
import { debugEvent, isDebugging } from './debug.js';
import { configError, warnOfListener } from './errors.js';

type Listener = (...args: never) => unknown;
/** Runs a listener in the async context in which it was added. */
type Run = (args: unknown[]) => unknown;

/**
 * Listeners by event. `E` names the arguments of each event's listeners.
 *
 * - A listener runs in the asynchronous context (`AsyncLocalStorage`) in which it was added.
 * - A listener that throws, or returns a promise that rejects, is reported as a process warning, and affects no other listener.
 * - A listener that is added twice to an event is called once, in the context of the last addition.
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

  /** @throws RedisError of kind `config` for an unknown event, or a listener that is not a function. */
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

  /** Has `event` a listener? */
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
        // An unhandled rejection of an async listener would end the process. A thenable may also be a function.
        if ((typeof outcome === 'object' && outcome !== null) || typeof outcome === 'function') {
          Promise.resolve(outcome).catch(warnOfListener);
        }
      } catch (error) {
        warnOfListener(error);
      }
    }
  }
}
