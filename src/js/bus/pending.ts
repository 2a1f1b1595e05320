/** Live messages that wait, oldest first, bounded in number and in characters. */

import type { Bounds } from './options.js';
import type { Arrival } from './wire.js';

/** Begun places after which the array is moved together. */
const LOOSE = 1024;

export class Pending {
  readonly #bounds: Bounds;
  #items: (Arrival | undefined)[] = [];
  #head = 0;
  #size = 0;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  get isEmpty(): boolean {
    return this.#head === this.#items.length;
  }

  add(arrival: Arrival): void {
    this.#items.push(arrival);
    this.#size += arrival.size;
  }

  /** Drops the oldest until the rest is within the bounds. Gives how many had to go. */
  trim(): number {
    const { maxPending, maxPendingBytes } = this.#bounds;
    let dropped = 0;
    for (;;) {
      const count = this.#items.length - this.#head;
      if (count <= maxPending && (this.#size <= maxPendingBytes || count <= 1)) return dropped;
      this.next();
      dropped++;
    }
  }

  /** Takes the oldest. */
  next(): Arrival | undefined {
    if (this.isEmpty) return undefined;
    const arrival = this.#items[this.#head] as Arrival;
    this.#items[this.#head] = undefined;
    this.#head++;
    this.#size -= arrival.size;
    if (this.isEmpty) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head >= LOOSE && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return arrival;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
    this.#size = 0;
  }
}
