/** A durable message as it waits for its handler, and what the handler is told beside it. */

import type { RedisError } from '../errors.js';
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

/** What a handler of durable messages is told. */
export class DurableContext implements MessageContext {
  readonly topic: string;
  readonly group: string;
  readonly streamId: string;
  readonly attempt: number;
  declare readonly key?: string;
  readonly #number: number;
  readonly #since: number;
  #controller: AbortController | undefined;
  #reason: unknown;

  constructor(topic: string, group: string, waiting: Waiting, attempt: number, key: string | undefined, since: number) {
    this.topic = topic;
    this.group = group;
    this.streamId = waiting.streamId;
    this.attempt = attempt;
    if (key !== undefined) this.key = key;
    this.#number = waiting.number;
    this.#since = since;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  static numberOf(context: DurableContext): number {
    return context.#number;
  }

  static sinceOf(context: DurableContext): number {
    return context.#since;
  }

  static isAborted(context: DurableContext): boolean {
    return context.#reason !== undefined;
  }

  static abort(context: DurableContext, reason: RedisError): void {
    // The first reason counts, as for the signal.
    context.#reason ??= reason;
    context.#controller?.abort(reason);
  }
}
