/** Envelopes: messages with an id, a type and a correlation. */

import { configError, messageOf } from './errors.js';
import { checkTraceparent, isTraceparent, MAX_NAME, scopeNow } from './scope.js';
import { uuid } from './uuid.js';

/** The longest type, in characters: the same as for a topic, since the default of a type is the topic. */
const MAX_TYPE = 1_024;
const MAX_TS = 64;
const MAX_ERROR = 1_024;

/** A message with its metadata. */
export interface Envelope<T = unknown> {
  /** The unique id, which is the same at each attempt: 1 to 512 characters. */
  id: string;
  /** What kind of message it is: at most 1 024 characters. */
  type: string;
  /** When the message was made: ISO 8601, UTC. */
  ts: string;
  /** The correlation id, which is the same for all messages with the same cause: 1 to 512 characters. */
  corrId: string;
  /** At most 512 characters. */
  tenantId?: string | undefined;
  /** The content of the message: anything that JSON can express. */
  payload: T;
  /** The number of earlier attempts, from 0. */
  attempts: number;
  /** Why the last attempt failed: at most 1 024 characters arrive. */
  lastError?: string | undefined;
  /** The W3C trace context of the message. */
  traceparent?: string | undefined;
}

let lastMs = Number.NaN;
let lastText = '';

/** The current time in ISO 8601. The text is kept for the millisecond, because formatting is slow. */
export function now(): string {
  const ms = Date.now();
  if (ms !== lastMs) {
    lastMs = ms;
    lastText = new Date(ms).toISOString();
  }
  return lastText;
}

/** A new envelope that inherits nothing from the scope. */
export function envelopeOf<T>(type: string, payload: T, corrId: string | undefined, tenantId: string | undefined): Envelope<T> {
  const id = uuid();
  const ts = now();
  if (tenantId === undefined) return { id, type, ts, corrId: corrId ?? id, payload, attempts: 0 };
  return { id, type, ts, corrId: corrId ?? id, tenantId, payload, attempts: 0 };
}

/**
 * A new envelope. In a handler of a bus it inherits the `corrId`, the `tenantId` and the trace context of the handler's message.
 *
 * @param type What kind of message it is: 1 to 1 024 characters.
 * @param corrId 1 to 512 characters. Default: that of the handler's message; outside of a handler the id of the new envelope.
 * @param tenantId 1 to 512 characters. Default: that of the handler's message; outside of a handler none.
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

/** Throws if receivers would not accept every field of the envelope. */
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
 * The envelope of the next attempt: the same id and corrId, `attempts` one higher, and the message of `error` as `lastError`, in at most 1 024
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
 * Completes a parsed envelope of any publisher; `undefined` if `value` is not an envelope. `value` itself is changed.
 *
 * A value with valid `id`, `type`, `ts` and `payload` is an envelope. A missing or invalid `corrId` becomes the `id`, missing or invalid `attempts`
 * become 0, and an invalid `tenantId`, `lastError` or `traceparent` is removed, so that no other message inherits it.
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

/** The first characters of an error message. */
function shortened(text: string): string {
  // A cut surrogate pair is replaced, since UTF-8 cannot express half of it.
  return text.length <= MAX_ERROR ? text : text.slice(0, MAX_ERROR).toWellFormed();
}
