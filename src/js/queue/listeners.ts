/** Listeners of events, none of which can harm another or the process. */

import { configError, warnOfListener } from '../errors.js';

type Listener = (...args: never) => unknown;

/** Listeners by event. `E` says what the listeners of each are given. */
export class Listeners<E extends { [K in keyof E]: unknown[] }> {
  readonly #sets = new Map<keyof E, Set<Listener>>();
  readonly #owner: string;
  readonly #names: readonly (keyof E & string)[];

  constructor(owner: string, names: readonly (keyof E & string)[]) {
    this.#owner = owner;
    this.#names = names;
  }

  add<K extends keyof E & string>(event: K, listener: (...args: E[K]) => void): void {
    if (!this.#names.includes(event)) throw configError(`${this.#owner}.on: event`, `one of ${this.#names.join(', ')}`, event);
    if (typeof listener !== 'function') throw configError(`${this.#owner}.on('${event}'): listener`, 'a function', listener);
    const set = this.#sets.get(event) ?? new Set<Listener>();
    this.#sets.set(event, set.add(listener as Listener));
  }

  remove<K extends keyof E>(event: K, listener: (...args: E[K]) => void): void {
    this.#sets.get(event)?.delete(listener as Listener);
  }

  /** Does anyone listen to `event`? */
  has(event: keyof E): boolean {
    return (this.#sets.get(event)?.size ?? 0) > 0;
  }

  emit<K extends keyof E>(event: K, ...args: E[K]): void {
    const set = this.#sets.get(event);
    if (set === undefined || set.size === 0) return;
    for (const listener of [...set]) {
      try {
        const outcome: unknown = (listener as (...args: unknown[]) => unknown)(...args);
        // An async listener's rejection would end the process.
        if (typeof outcome === 'object' && outcome !== null) Promise.resolve(outcome).catch(warnOfListener);
      } catch (error) {
        warnOfListener(error);
      }
    }
  }
}
