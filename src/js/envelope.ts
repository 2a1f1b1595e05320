/** Envelopes: a message with its id, its type and its correlation. */

import { configError, messageOf } from './errors.js';
import { checkTraceparent, isTraceparent, MAX_NAME, scopeNow } from './scope.js';
import { uuid } from './uuid.js';

/** Characters of a type at most: as many as of a topic, which it is by default. */
const MAX_TYPE = 1_024;
const MAX_TS = 64;
const MAX_ERROR = 1_024;

/** A message with its metadata. */
export interface Envelope<T = unknown> {
  /** Unique, and the same at each attempt: 1 to 512 characters. */
  id: string;
  /** What kind of message it is: at most 1 024 characters. */
  type: string;
  /** When it was made: ISO 8601, UTC. */
  ts: string;
  /** The same for all messages that one thing has led to: 1 to 512 characters. */
  corrId: string;
  /** At most 512 characters. */
  tenantId?: string | undefined;
  /** What the message says: anything that JSON can express. */
  payload: T;
  /** Earlier attempts, from 0. */
  attempts: number;
  /** Why the last attempt failed: at most 1 024 characters arrive. */
  lastError?: string | undefined;
  /** The W3C trace context it belongs to. */
  traceparent?: string | undefined;
}

let lastMs = Number.NaN;
let lastText = '';

/** The time, as an envelope has it. */
export function now(): string {
  const ms = Date.now();
  if (ms !== lastMs) {
    lastMs = ms;
    lastText = new Date(ms).toISOString();
  }
  return lastText;
}

/** An envelope of nothing but what is given. */
export function envelopeOf<T>(type: string, payload: T, corrId: string | undefined, tenantId: string | undefined): Envelope<T> {
  const id = uuid();
  const ts = now();
  if (tenantId === undefined) return { id, type, ts, corrId: corrId ?? id, payload, attempts: 0 };
  return { id, type, ts, corrId: corrId ?? id, tenantId, payload, attempts: 0 };
}

/**
 * A new envelope. In a handler of a bus it inherits what is not given from the message in hand, the trace context too.
 *
 * @param type What kind of message it is: 1 to 1 024 characters.
 * @param corrId 1 to 512 characters. Default: the message's in
 * hand, else the id of the new envelope.
 * @param tenantId 1 to 512 characters. Default: the message's in hand, else none.
 * @throws RedisError of kind `config`.
 */
export function createEnvelope<T>(type: string, payload: T, corrId?: string, tenantId?: string): Envelope<T> {
  checkText('createEnvelope: type', type, MAX_TYPE);
  if (corrId !== undefined) checkText('createEnvelope: corrId', corrId, MAX_NAME);
  if (tenantId !== undefined) checkText('createEnvelope: tenantId', tenantId, MAX_NAME);
  const scope = scopeNow();
  if (scope === undefined) return envelopeOf(type, payload, corrId, tenantId);
  const envelope = envelopeOf(type, payload, corrId ?? scope.corrId, tenantId ?? scope.tenantId);
  if (scope.traceparent !== undefined) envelope.traceparent = scope.traceparent;
  return envelope;
}

function checkText(name: string, value: unknown, most: number): void {
  if (typeof value !== 'string' || value === '' || value.length > most) {
    throw configError(name, `a string of 1 to ${most} characters`, value);
  }
}

/** Refuses an envelope if receivers would not accept all of it. */
export function checkEnvelope(owner: string, envelope: Envelope): void {
  const { id, type, ts, corrId, tenantId, traceparent } = envelope;
  if (id.length > MAX_NAME) throw configError(`${owner}: id`, `a string of 1 to ${MAX_NAME} characters`, id);
  if (type.length > MAX_TYPE) throw configError(`${owner}: type`, `a string of at most ${MAX_TYPE} characters`, type);
  if (ts.length > MAX_TS) throw configError(`${owner}: ts`, `a string of at most ${MAX_TS} characters`, ts);
  if (corrId.length > MAX_NAME) throw configError(`${owner}: corrId`, `a string of 1 to ${MAX_NAME} characters`, corrId);
  if (tenantId !== undefined && tenantId.length > MAX_NAME) {
    throw configError(`${owner}: tenantId`, `a string of at most ${MAX_NAME} characters`, tenantId);
  }
  checkTraceparent(`${owner}: traceparent`, traceparent);
}

/**
 * The envelope of the next attempt: the same id and corrId, `attempts` one higher, and why the last one failed, in at most 1 024
 * characters.
 *
 * @throws RedisError of kind `config` if `envelope` is not an envelope.
 */
export function retryEnvelope<T>(envelope: Envelope<T>, error: unknown): Envelope<T> {
  if (!isEnvelope(envelope)) throw configError('retryEnvelope: envelope', 'an Envelope', envelope);
  return { ...envelope, attempts: envelope.attempts + 1, lastError: shortened(messageOf(error)) };
}

/** Is `value` an envelope? Envelopes of other programs count too. */
export function isEnvelope(value: unknown): value is Envelope {
  if (typeof value !== 'object' || value === null) return false;
  const { id, type, ts, corrId, tenantId, attempts, lastError, traceparent } = value as Record<string, unknown>;
  return (
    typeof id === 'string' &&
    id !== '' &&
    typeof type === 'string' &&
    typeof ts === 'string' &&
    typeof corrId === 'string' &&
    typeof attempts === 'number' &&
    Number.isInteger(attempts) &&
    attempts >= 0 &&
    (tenantId === undefined || typeof tenantId === 'string') &&
    (lastError === undefined || typeof lastError === 'string') &&
    (traceparent === undefined || typeof traceparent === 'string') &&
    Object.hasOwn(value, 'payload')
  );
}

/**
 * `value` as an envelope, if it is one that a publisher wrote: with what it may leave out, and without what nobody should inherit from it.
 * `value` was parsed for this call and is changed.
 *
 * `id`, `type`, `ts` and `payload` make it an envelope. A `corrId` that is missing, or longer than one may be, becomes the `id`; such
 * `attempts` become 0; a `tenantId`, `lastError` or `traceparent` that is none is left out.
 */
export function completed(value: unknown): Envelope | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const envelope = value as { -readonly [K in keyof Envelope]: unknown };
  const { id, type, ts, corrId, attempts } = envelope;
  if (typeof id !== 'string' || id === '' || id.length > MAX_NAME) return undefined;
  if (typeof type !== 'string' || type.length > MAX_TYPE) return undefined;
  if (typeof ts !== 'string' || ts.length > MAX_TS) return undefined;
  if (!Object.hasOwn(envelope, 'payload')) return undefined;
  if (!isName(corrId)) envelope.corrId = id;
  if (!(Number.isSafeInteger(attempts) && (attempts as number) >= 0)) envelope.attempts = 0;
  const { tenantId, lastError, traceparent } = envelope;
  if (tenantId !== undefined && !isName(tenantId)) delete envelope.tenantId;
  if (lastError !== undefined) {
    if (typeof lastError !== 'string') delete envelope.lastError;
    else if (lastError.length > MAX_ERROR) envelope.lastError = shortened(lastError);
  }
  if (traceparent !== undefined && !isTraceparent(traceparent)) delete envelope.traceparent;
  return envelope as Envelope;
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_NAME;
}

/** As much of an error as is carried on. */
function shortened(text: string): string {
  // Half a character would have no UTF-8.
  return text.length <= MAX_ERROR ? text : text.slice(0, MAX_ERROR).toWellFormed();
}
