/**
 * The scope of a handler: an AsyncLocalStorage context with the correlation of its message or job. Messages and jobs that the handler publishes or
 * adds inherit the correlation.
 */

import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { checkFunction } from './arguments.js';
import { configError } from './errors.js';

/** The metadata that messages and jobs with the same cause share. */
export interface Correlation {
  /** 1 to 512 characters. */
  readonly corrId: string;
  /** At most 512 characters. */
  readonly tenantId?: string | undefined;
  /** The W3C trace context. */
  readonly traceparent?: string | undefined;
}

/** A correlation, with the handler's call that it comes from. */
export interface Scope extends Correlation {
  readonly call?: object | undefined;
}

/** The longest id, `corrId` or `tenantId`, in characters. */
export const MAX_NAME = 512;
const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/;

const storage = new AsyncLocalStorage<Scope>();

/** The scope of the running code; `undefined` outside of handlers. */
export function scopeNow(): Scope | undefined {
  return storage.getStore();
}

const UNTRACKED = { requireManualDestroy: true };

/*
 * Before Node 24, AsyncLocalStorage uses async hooks, which make every promise of the process slower: for a live message by almost half of its cost.
 * Only asynchronous work that a handler starts can later ask for the handler's scope, and with hooks on, all such work takes an async id. So if the
 * handlers of a batch have taken no async id, no code can ask for their scopes after the batch, and the hooks are switched off again. Once a handler
 * has taken an id, the hooks stay on.
 */
/** Do the hooks stay on? */
let keepsHooks = !('_enable' in storage);
let isInBatch = false;
/** The last async id that this module took. The next id is one larger if no asynchronous work was started since. */
let lastId = 0;

function resource(): AsyncResource {
  return new AsyncResource('redis-backplane message', UNTRACKED);
}

/** Compares a new async id with the last one. A gap means that a handler has started asynchronous work. */
function compareId(id: number): void {
  if (id !== lastId + 1) keepsHooks = true;
  lastId = id;
}

/** Runs `run`, which calls {@link runIn} for any number of messages. */
export function inBatch(run: () => void): void {
  if (keepsHooks || isInBatch) {
    run();
    return;
  }
  isInBatch = true;
  lastId = resource().asyncId();
  try {
    run();
  } finally {
    isInBatch = false;
    compareId(resource().asyncId());
    if (!keepsHooks) storage.disable();
  }
}

/** Runs code of this package inside a batch. The asynchronous work that this code starts needs no scope, so its async ids do not count. */
export function withoutScope(work: () => void): void {
  if (keepsHooks || !isInBatch) {
    work();
    return;
  }
  compareId(resource().asyncId());
  try {
    work();
  } finally {
    lastId = resource().asyncId();
  }
}

/** Runs `work` with two arguments in `scope`. It gets its own async resource, so that its calls of `enterWith` on other contexts end with it. */
export function runIn<A, B, R>(scope: Scope, work: (a: A, b: B) => R, a: A, b: B): R {
  const asyncResource = resource();
  if (!keepsHooks) {
    if (isInBatch) compareId(asyncResource.asyncId());
    else keepsHooks = true;
  }
  return asyncResource.runInAsyncScope(enter, undefined, scope, work, a, b) as R;
}

function enter<A, B, R>(scope: Scope, work: (a: A, b: B) => R, a: A, b: B): R {
  return storage.run(scope, work, a, b);
}

/**
 * The correlation that messages and jobs get when they are published or added here. It is the correlation of the message or job whose handler or
 * processor runs, or of {@link withCorrelation}; `undefined` outside of both.
 */
export function correlation(): Correlation | undefined {
  const scope = storage.getStore();
  if (scope === undefined) return undefined;
  const { corrId, tenantId, traceparent } = scope;
  return { corrId, ...(tenantId !== undefined && { tenantId }), ...(traceparent !== undefined && { traceparent }) };
}

/**
 * Runs `run`. Messages that `run` publishes, directly or later in its asynchronous work, get this correlation; jobs that it adds get its `corrId`. Use
 * it where a chain of messages starts: in an HTTP request, in a timer.
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
  keepsHooks = true;
  return storage.run({ corrId, tenantId, traceparent, call: storage.getStore()?.call }, run);
}

/** Throws if `value` is given and is not a W3C trace context. */
export function checkTraceparent(name: string, value: unknown): void {
  if (value !== undefined && !isTraceparent(value)) throw configError(name, 'a W3C traceparent', value);
}

/** Is `value` a valid W3C `traceparent`? W3C forbids the version `ff` and ids of only zeros. */
export function isTraceparent(value: unknown): value is string {
  return typeof value === 'string' && value.length === 55 && TRACEPARENT.test(value);
}
