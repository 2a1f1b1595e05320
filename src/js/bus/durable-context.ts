/** A durable message as it waits for its handler, and what the handler is told beside it. */

import type { RedisError } from '../errors.js';
import { hide, internals } from '../internals.js';
import type { MessageContext } from './options.js';

/** A message that waits for its handler. */
export interface Waiting {
  number: number;
  streamId: string;
  prior: number;
  lastError: string | null;
  key: string | null;
  raw: unknown;
}

/** What is known of a message in hand beside what its handler is told. */
class Holding {
  readonly number: number;
  /** When its handler began. */
  readonly since: number;
  /** Why it is to end; the first reason counts, as for the signal. */
  reason: RedisError | undefined;
  #controller: AbortController | undefined;

  constructor(number: number, since: number) {
    this.number = number;
    this.since = since;
  }

  // Made at the first look: most handlers never ask.
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.reason !== undefined) this.#controller.abort(this.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: RedisError): void {
    this.reason ??= reason;
    this.#controller?.abort(reason);
  }
}

/** What a handler of durable messages is told. */
export class DurableContext implements MessageContext {
  /** @internal */
  declare readonly [internals]: Holding;
  readonly topic: string;
  readonly group: string;
  readonly streamId: string;
  readonly attempt: number;
  declare readonly key?: string | undefined;

  constructor(topic: string, group: string, waiting: Waiting, attempt: number, key: string | undefined, since: number) {
    this.topic = topic;
    this.group = group;
    this.streamId = waiting.streamId;
    this.attempt = attempt;
    if (key !== undefined) this.key = key;
    hide(this, new Holding(waiting.number, since));
  }

  get signal(): AbortSignal {
    return this[internals].signal;
  }
}
