/** A handler: run in the contexts it was subscribed in, kept apart from everyone else. */

import { AsyncLocalStorage } from 'node:async_hooks';
import type { Envelope } from '../envelope.js';
import { apart, inBatch, runIn, type Scope, scopeNow } from '../scope.js';
import type { MessageContext } from './options.js';

/** What a handler is, whatever it gives. */
export type Handler = (message: Envelope<never>, context: MessageContext) => unknown;

/** Called once when a handler has ended; with what it failed with, if it did. */
export type Done = (hand: Hand, failure?: { error: unknown }) => void;

/** One message in the hands of a handler. */
export class Hand implements Scope {
  readonly corrId: string;
  readonly tenantId: string | undefined;
  readonly traceparent: string | undefined;
  readonly handling: Handling;
  readonly envelope: Envelope;
  readonly context: MessageContext;
  /** What it takes up while it is in hand, by whoever counts that. */
  size = 0;
  ended = false;
  /** Does the handler itself wait until no handler runs? */
  leaving = false;

  constructor(handling: Handling, envelope: Envelope, context: MessageContext) {
    this.handling = handling;
    this.envelope = envelope;
    this.context = context;
    this.corrId = envelope.corrId;
    this.tenantId = envelope.tenantId;
    this.traceparent = envelope.traceparent;
  }

  get hand(): Hand {
    return this;
  }
}

/** One handler of one subscription. Made by who subscribes: it captures the AsyncLocalStorage contexts of then. */
export class Handling {
  readonly #handler: Handler;
  readonly #enter = AsyncLocalStorage.snapshot();
  #running = 0;
  #leaving = 0;
  #waiting: (() => void)[] = [];

  constructor(handler: Handler) {
    this.#handler = handler;
  }

  /** How many messages are in hand. */
  get hands(): number {
    return this.#running;
  }

  /** Runs `run` in the captured contexts; {@link start} is called in there. */
  batch(run: () => void): void {
    this.#enter(inBatch, run);
  }

  /**
   * Starts the handler with a message, in a scope of its own. `done` is called when it has ended: before this returns, if the handler
   * gave no promise. Never throws, if `done` does not.
   */
  start(envelope: Envelope, context: MessageContext, done: Done): Hand {
    const hand = new Hand(this, envelope, context);
    this.#running++;
    let result: unknown;
    let isPromise = false;
    try {
      result = runIn(hand, this.#handler as (message: Envelope, context: MessageContext) => unknown, envelope, context);
      isPromise =
        ((typeof result === 'object' && result !== null) || typeof result === 'function') &&
        typeof (result as { then?: unknown }).then === 'function';
    } catch (error) {
      this.#end(hand);
      apart(() => done(hand, { error }));
      return hand;
    }
    if (!isPromise) {
      this.#end(hand);
      done(hand);
      return hand;
    }
    Promise.resolve(result).then(
      () => {
        this.#end(hand);
        done(hand);
      },
      (error: unknown) => {
        this.#end(hand);
        done(hand, { error });
      },
    );
    return hand;
  }

  /** Resolves when no message is in hand any more, except in those hands that wait for this themselves. */
  settled(): Promise<void> {
    const hand = scopeNow()?.hand;
    if (hand instanceof Hand && hand.handling === this && !hand.ended && !hand.leaving) {
      hand.leaving = true;
      this.#leaving++;
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#look();
    });
  }

  #end(hand: Hand): void {
    hand.ended = true;
    this.#running--;
    if (hand.leaving) this.#leaving--;
    this.#look();
  }

  #look(): void {
    if (this.#running > this.#leaving || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
