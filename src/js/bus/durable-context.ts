/** A durable message that waits for its handler, and the context that the handler gets with it. */

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

/** The private state of the context: the message's number, the start of its handler, its signal. */
class ContextInternals {
  readonly number: number;
  /** When the handler started, by the clock of `performance.now()`. */
  readonly since: number;
  /** The reason of the signal's abort; the first reason counts. */
  reason: RedisError | undefined;
  #controller: AbortController | undefined;

  constructor(number: number, since: number) {
    this.number = number;
    this.since = since;
  }

  // The controller is made at the first use, because most handlers never read the signal.
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

/** The context of a handler of durable messages. */
export class DurableContext implements MessageContext {
  /** @internal */
  declare readonly [internals]: ContextInternals;
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
    hide(this, new ContextInternals(waiting.number, since));
  }

  get signal(): AbortSignal {
    return this[internals].signal;
  }
}
