/** The calls of one subscription's handler. Each call runs in the async contexts of `subscribe()`, and its errors reach no other handler. */

import { AsyncLocalStorage } from 'node:async_hooks';
import type { Envelope } from '../envelope.js';
import { inBatch, runIn, type Scope, scopeNow, withoutScope } from '../scope.js';
import type { MessageContext } from './options.js';

/** A handler of any messages. */
export type Handler = (message: Envelope<never>, context: MessageContext) => unknown;

/** Called once when a call of the handler has ended; with `failure` if the handler threw or rejected. */
export type Done = (call: HandlerCall, failure?: { error: unknown }) => void;

/** One call of a handler, with its message. */
export class HandlerCall implements Scope {
  readonly corrId: string;
  readonly tenantId: string | undefined;
  readonly traceparent: string | undefined;
  readonly handling: Handling;
  readonly envelope: Envelope;
  readonly context: MessageContext;
  /** The size of the message, for a subscription that bounds the bytes in flight. */
  size = 0;
  ended = false;
  /** Does the handler itself wait for {@link Handling.settled}? */
  leaving = false;

  constructor(handling: Handling, envelope: Envelope, context: MessageContext) {
    this.handling = handling;
    this.envelope = envelope;
    this.context = context;
    this.corrId = envelope.corrId;
    this.tenantId = envelope.tenantId;
    this.traceparent = envelope.traceparent;
  }

  get call(): HandlerCall {
    return this;
  }
}

/** The handler of one subscription. The constructor captures the AsyncLocalStorage contexts, so `subscribe()` must call it synchronously. */
export class Handling {
  readonly #handler: Handler;
  readonly #enter = AsyncLocalStorage.snapshot();
  #running = 0;
  #leaving = 0;
  #waiting: (() => void)[] = [];

  constructor(handler: Handler) {
    this.#handler = handler;
  }

  /** How many calls of the handler have not ended. */
  get running(): number {
    return this.#running;
  }

  /** Runs `run` in the captured contexts. {@link start} must be called inside `run`. */
  batch(run: () => void): void {
    this.#enter(inBatch, run);
  }

  /**
   * Calls the handler with a message, in a scope of its own. `done` is called when the call has ended: before `start` returns, if the handler
   * returned no promise. Throws only if `done` throws.
   */
  start(envelope: Envelope, context: MessageContext, done: Done): HandlerCall {
    const call = new HandlerCall(this, envelope, context);
    this.#running++;
    let result: unknown;
    let isPromise = false;
    try {
      result = runIn(call, this.#handler as (message: Envelope, context: MessageContext) => unknown, envelope, context);
      isPromise =
        ((typeof result === 'object' && result !== null) || typeof result === 'function') &&
        typeof (result as { then?: unknown }).then === 'function';
    } catch (error) {
      this.#end(call);
      withoutScope(() => done(call, { error }));
      return call;
    }
    if (!isPromise) {
      this.#end(call);
      done(call);
      return call;
    }
    Promise.resolve(result).then(
      () => {
        this.#end(call);
        done(call);
      },
      (error: unknown) => {
        this.#end(call);
        done(call, { error });
      },
    );
    return call;
  }

  /** Resolves when every call of the handler has ended, except calls that themselves wait for `settled()`. */
  settled(): Promise<void> {
    const call = scopeNow()?.call;
    if (call instanceof HandlerCall && call.handling === this && !call.ended && !call.leaving) {
      call.leaving = true;
      this.#leaving++;
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#resolveIfDone();
    });
  }

  #end(call: HandlerCall): void {
    call.ended = true;
    this.#running--;
    if (call.leaving) this.#leaving--;
    this.#resolveIfDone();
  }

  #resolveIfDone(): void {
    if (this.#running > this.#leaving || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
