/** What messages and jobs inherit from the message or job in hand, and which message that is: an AsyncLocalStorage context. */

import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { checkFunction } from './arguments.js';
import { configError } from './errors.js';

/** What messages and jobs of one cause have in common. */
export interface Correlation {
  /** 1 to 512 characters. */
  readonly corrId: string;
  /** At most 512 characters. */
  readonly tenantId?: string | undefined;
  /** The W3C trace context. */
  readonly traceparent?: string | undefined;
}

/** A correlation, with what the bus keeps of the message in hand that it comes from. */
export interface Scope extends Correlation {
  readonly call?: object | undefined;
}

/** Characters of an id, a `corrId` or a `tenantId` at most. */
export const MAX_NAME = 512;
const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/;

const storage = new AsyncLocalStorage<Scope>();

/** The scope of what runs now. */
export function scopeNow(): Scope | undefined {
  return storage.getStore();
}

const UNTRACKED = { requireManualDestroy: true };

/*
 * Where AsyncLocalStorage stands on async hooks (before Node 24), its first use makes every promise of the process slower, by almost
 * half of what a live message costs. A scope lives on only in what was begun within it, and with hooks on whatever is begun takes an async
 * id. So after a batch in which no handler has taken any, nothing can ask for a scope any more, and the hooks go off again; once one
 * has, they stay on.
 */
/** Must scopes be carried on for good? */
let isCarried = !('_enable' in storage);
let isInBatch = false;
/** The async id after which the next one is taken, if nothing was begun meanwhile. */
let lastId = 0;

function resource(): AsyncResource {
  return new AsyncResource('redis-backplane message', UNTRACKED);
}

/** Takes note of an async id that is taken next: is it the next one, nothing was begun since the last. */
function look(id: number): void {
  if (id !== lastId + 1) isCarried = true;
  lastId = id;
}

/** Runs `run`, which calls {@link runIn} for any number of messages. */
export function inBatch(run: () => void): void {
  if (isCarried || isInBatch) {
    run();
    return;
  }
  isInBatch = true;
  lastId = resource().asyncId();
  try {
    run();
  } finally {
    isInBatch = false;
    look(resource().asyncId());
    if (!isCarried) storage.disable();
  }
}

/** Runs what is no handler's, within a batch: what it begins needs no scope. */
export function withoutScope(work: () => void): void {
  if (isCarried || !isInBatch) {
    work();
    return;
  }
  look(resource().asyncId());
  try {
    work();
  } finally {
    lastId = resource().asyncId();
  }
}

/** Runs `work` with two arguments in `scope`, apart: what it does to other contexts with `enterWith` does not outlive it. */
export function runIn<A, B, R>(scope: Scope, work: (a: A, b: B) => R, a: A, b: B): R {
  const own = resource();
  if (!isCarried) {
    if (isInBatch) look(own.asyncId());
    else isCarried = true;
  }
  return own.runInAsyncScope(enter, undefined, scope, work, a, b) as R;
}

function enter<A, B, R>(scope: Scope, work: (a: A, b: B) => R, a: A, b: B): R {
  return storage.run(scope, work, a, b);
}

/**
 * The correlation that messages and jobs get when they are published or added here. It comes from the message or job in hand, or from
 * {@link withCorrelation}.
 */
export function correlation(): Correlation | undefined {
  const scope = storage.getStore();
  if (scope === undefined) return undefined;
  const { corrId, tenantId, traceparent } = scope;
  return { corrId, ...(tenantId !== undefined && { tenantId }), ...(traceparent !== undefined && { traceparent }) };
}

/**
 * Runs `run`. Messages that `run` publishes, however late, get this correlation; jobs that it adds get its `corrId`. For the source of messages: an
 * HTTP request, a timer.
 *
 * @throws RedisError of kind `config`; what `run` throws.
 */
export function withCorrelation<T>(given: Correlation, run: () => T): T {
  checkFunction('withCorrelation: run', run);
  if (typeof given !== 'object' || given === null) throw configError('withCorrelation: correlation', 'an object', given);
  const { corrId, tenantId, traceparent } = given;
  if (typeof corrId !== 'string' || corrId === '' || corrId.length > MAX_NAME) {
    throw configError('withCorrelation: corrId', `a string of 1 to ${MAX_NAME} characters`, corrId);
  }
  if (tenantId !== undefined && (typeof tenantId !== 'string' || tenantId.length > MAX_NAME)) {
    throw configError('withCorrelation: tenantId', `a string of at most ${MAX_NAME} characters`, tenantId);
  }
  checkTraceparent('withCorrelation: traceparent', traceparent);
  isCarried = true;
  return storage.run({ corrId, tenantId, traceparent, call: storage.getStore()?.call }, run);
}

/** Refuses what is no trace context, where one is given. */
export function checkTraceparent(name: string, value: unknown): void {
  if (value !== undefined && !isTraceparent(value)) throw configError(name, 'a W3C traceparent', value);
}

/** Is it a trace context as W3C has it: no version ff, no id of zeros? */
export function isTraceparent(value: unknown): value is string {
  return typeof value === 'string' && value.length === 55 && TRACEPARENT.test(value);
}
