/** A queue of waiting live messages, oldest first, bounded in number and in characters. */

import type { Bounds } from './options.js';
import type { Arrival } from './wire.js';

/** The number of empty places at the front from which the array is compacted. */
const COMPACT_FROM = 1024;

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

  /** Drops the oldest messages until the rest is within the bounds. Returns the number of dropped messages. */
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

  /** Removes the oldest message and returns it. */
  next(): Arrival | undefined {
    if (this.isEmpty) return undefined;
    const arrival = this.#items[this.#head] as Arrival;
    this.#items[this.#head] = undefined;
    this.#head++;
    this.#size -= arrival.size;
    if (this.isEmpty) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head >= COMPACT_FROM && this.#head * 2 >= this.#items.length) {
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
