/** Envelopes: what a message is in, and what it has in common with the messages that led to it. */

import { randomUUID } from 'node:crypto';
import { configError, messageOf } from './errors.js';
import { scopeNow } from './scope.js';

/** A message with what is known of it. */
export interface Envelope<T = unknown> {
  /** Unique, and the same at each attempt. */
  id: string;
  /** What kind of message it is. */
  type: string;
  /** When it was made: ISO 8601, UTC. */
  ts: string;
  /** The same for all messages that one thing has led to. */
  corrId: string;
  tenantId?: string;
  payload: T;
  /** How often it was tried before, from 0. */
  attempts: number;
  /** Why the last attempt failed. */
  lastError?: string;
  /** The W3C trace context it belongs to. */
  traceparent?: string;
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
  const id = randomUUID();
  const ts = now();
  if (tenantId === undefined) return { id, type, ts, corrId: corrId ?? id, payload, attempts: 0 };
  return { id, type, ts, corrId: corrId ?? id, tenantId, payload, attempts: 0 };
}

/**
 * A new envelope. In a handler of a bus what is not given is that of the message in hand, its trace context too.
 *
 * @param type What kind of message it is; not empty.
 * @param corrId Default: that of the message in hand, else the id of the new envelope.
 * @param tenantId Default: that of the message in hand, else none.
 * @throws RedisError of kind `config`.
 */
export function createEnvelope<T>(type: string, payload: T, corrId?: string, tenantId?: string): Envelope<T> {
  if (typeof type !== 'string' || type === '') throw configError('createEnvelope: type', 'a string that is not empty', type);
  checkText('createEnvelope: corrId', corrId);
  checkText('createEnvelope: tenantId', tenantId);
  const scope = scopeNow();
  if (scope === undefined) return envelopeOf(type, payload, corrId, tenantId);
  const envelope = envelopeOf(type, payload, corrId ?? scope.corrId, tenantId ?? scope.tenantId);
  if (scope.traceparent !== undefined) envelope.traceparent = scope.traceparent;
  return envelope;
}

function checkText(name: string, value: unknown): void {
  if (value !== undefined && (typeof value !== 'string' || value === '')) throw configError(name, 'a string that is not empty', value);
}

/**
 * The envelope of the next attempt: the same id and corrId, `attempts` one higher, and why the last one failed.
 *
 * @throws RedisError of kind `config` if `envelope` is none.
 */
export function retryEnvelope<T>(envelope: Envelope<T>, error: unknown): Envelope<T> {
  if (!isEnvelope(envelope)) throw configError('retryEnvelope: envelope', 'an Envelope', envelope);
  return { ...envelope, attempts: envelope.attempts + 1, lastError: messageOf(error) };
}

/** Is it an envelope, whoever made it? */
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
