/** Messages as text: `{"key"?, "reply"?, "msg": Envelope}`, and what other publishers write instead. */

import { type Envelope, envelopeOf, isEnvelope } from '../envelope.js';
import { configError, RedisError } from '../errors.js';

/**
 * A message as text.
 *
 * @throws RedisError of kind `config` for a payload that JSON cannot express.
 */
export function encode(owner: string, envelope: Envelope, key?: string): string {
  checkPayload(`${owner}: payload`, envelope.payload);
  const text = stringify(`${owner}: payload`, envelope);
  return key === undefined ? `{"msg":${text}}` : `{"key":${JSON.stringify(key)},"msg":${text}}`;
}

const EXPRESSIBLE = 'a value that JSON can express';

/** Refuses what JSON would leave out, or silently make null of. */
function checkPayload(name: string, payload: unknown): void {
  switch (typeof payload) {
    case 'undefined':
    case 'function':
    case 'symbol':
      throw configError(name, EXPRESSIBLE, payload);
    case 'number':
      if (!Number.isFinite(payload)) throw configError(name, EXPRESSIBLE, payload);
      break;
    case 'object':
      // One that says for itself how it is written may say that it is not.
      if (payload !== null && 'toJSON' in payload && stringify(name, payload) === undefined) {
        throw new RedisError('config', `${name}: expected ${EXPRESSIBLE}, got one that becomes nothing`);
      }
  }
}

function stringify(name: string, value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new RedisError('config', `${name}: expected ${EXPRESSIBLE}, got one that it cannot`, { cause });
  }
}

/** A message that was read. */
export interface Decoded {
  envelope: Envelope;
  key?: string;
  /** Where a reply to it is awaited. */
  reply?: string;
}

/**
 * A message as it arrived. It is parsed anew for each handler, so that what one does to it reaches no other; an envelope that is made
 * for it is the same for all.
 */
export class Arrival {
  readonly topic: string;
  readonly raw: unknown;
  /** Was it found to be no JSON? */
  malformed = false;
  #made: Envelope | undefined;

  constructor(topic: string, raw: unknown) {
    this.topic = topic;
    this.raw = raw;
  }

  /** Its characters, or bytes where it is no text. */
  get size(): number {
    return (this.raw as { length: number }).length;
  }

  /** What it says; `undefined` if it is not JSON. */
  read(): Decoded | undefined {
    if (typeof this.raw !== 'string') return undefined;
    let value: unknown;
    try {
      value = JSON.parse(this.raw);
    } catch {
      return undefined;
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return { envelope: this.#wrap(value) };
    const { msg, key, reply } = value as Record<string, unknown>;
    if (isEnvelope(msg)) {
      return {
        envelope: msg,
        key: typeof key === 'string' ? key : undefined,
        reply: typeof reply === 'string' ? reply : undefined,
      };
    }
    if (isEnvelope(value)) return { envelope: value };
    if (Object.hasOwn(value, 'msg') && Object.keys(value).every((name) => name === 'msg' || name === 'key')) {
      return { envelope: this.#wrap(msg), key: typeof key === 'string' ? key : undefined };
    }
    return { envelope: this.#wrap(value) };
  }

  /** A payload that came without an envelope. */
  #wrap(payload: unknown): Envelope {
    this.#made ??= envelopeOf(this.topic, undefined, undefined, undefined) as Envelope;
    return { ...this.#made, payload };
  }
}

/** What durable messages and live ones are read by. */
export function decode(topic: string, raw: unknown): Decoded | undefined {
  return new Arrival(topic, raw).read();
}
