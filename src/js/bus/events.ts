/** The events of a bus, and who listens to them. */

import { checkFunction } from '../arguments.js';
import { configError, warnOfListener } from '../errors.js';

/** The events of a {@link MessageBus}, with what their listeners are given. */
export interface BusEvents {
  /**
   * A handler threw or rejected, or did not end in time; or the server refused what a consumer asked, or had lost records of its group.
   * Without a listener nothing is thrown.
   */
  error: {
    topic: string;
    /** The message it had. */
    envelopeId?: string;
    corrId?: string;
    pattern?: string;
    /** Of a durable subscription. */
    group?: string;
    error: unknown;
  };
  /** A message that is not JSON, which no handler has got; or an entry among dead letters that is none, which `redrive` passed over. */
  malformed: {
    topic: string;
    pattern?: string;
    group?: string;
    streamId?: string;
    /** Its id among the dead letters of the group. */
    letterId?: string;
    /** How long it is. */
    bytes: number;
  };
  /**
   * A message became a dead letter with a consumer of this bus. Not told where the connection was lost just then:
   * {@link DeadLetters.count} knows.
   */
  'dead-letter': {
    topic: string;
    group: string;
    /** Its id among the dead letters of the group. */
    letterId: string;
    /** Its id in the topic's stream. */
    streamId: string;
    /** How often it was tried. */
    attempts: number;
    /** Why the last attempt failed. */
    lastError: string;
  };
  /** A live subscription is confirmed again after an interruption: messages may have been missed. */
  gap: { topic: string; pattern?: string /** For how long, in milliseconds. */; durationMs: number };
  /** Live messages were dropped: the oldest that waited, since more came than were handled, or one longer than `maxReplyBytes`. */
  slow: { topic: string; pattern?: string /** How many, since this was told last. */; dropped: number };
}

const NAMES: readonly (keyof BusEvents)[] = ['error', 'malformed', 'dead-letter', 'gap', 'slow'];

type Listener = (event: never) => unknown;

/** Who listens to what. */
export class Listeners {
  readonly #listeners = new Map<keyof BusEvents, Set<Listener>>();

  add(name: keyof BusEvents, listener: Listener): void {
    if (!NAMES.includes(name)) throw configError('MessageBus.on: event', `one of ${NAMES.join(', ')}`, name);
    checkFunction(`MessageBus.on('${name}'): listener`, listener);
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
  }

  remove(name: keyof BusEvents, listener: Listener): void {
    this.#listeners.get(name)?.delete(listener);
  }

  /** Tells everyone. One that throws or rejects is reported as a process warning; neither the others nor the process suffer. */
  emit<E extends keyof BusEvents>(name: E, event: BusEvents[E]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        const result = (listener as (event: BusEvents[E]) => unknown)(event);
        if (result instanceof Promise) result.catch(warnOfListener);
      } catch (error) {
        warnOfListener(error);
      }
    }
  }
}
