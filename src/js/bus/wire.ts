/** Messages as text: `{"key"?, "reply"?, "msg": Envelope}`, and what other publishers write instead. */

import { completed, type Envelope, envelopeOf, now } from '../envelope.js';
import { configError, RedisError } from '../errors.js';
import { scopeNow } from '../scope.js';
import { uuid } from '../uuid.js';

const EXPRESSIBLE = 'a value that JSON can express';

/**
 * An envelope as a message.
 *
 * @throws RedisError of kind `config` for a payload that JSON cannot express.
 */
export function encode(owner: string, envelope: Envelope, key?: string): string {
  const { payload } = envelope;
  // JSON would leave these out of the envelope, silently.
  if (payload === undefined || typeof payload === 'function' || typeof payload === 'symbol') {
    throw configError(`${owner}: payload`, EXPRESSIBLE, payload);
  }
  if (typeof payload === 'number' || (typeof payload === 'object' && payload !== null && 'toJSON' in payload)) jsonOf(owner, payload);
  const text = stringify(owner, envelope);
  if (text === undefined) throw new RedisError('config', `${owner}: message: expected an Envelope, got one whose toJSON() gives nothing`);
  return `${head(key)}"msg":${text}}`;
}

let lastType = '';
let lastTypeText = '""';

/**
 * A bare value as a message, in a new envelope that nobody needs as an object: writing it at once is a third faster.
 *
 * @throws RedisError as {@link encode}.
 */
export function encodeBare(owner: string, type: string, payload: unknown, key?: string, traceparent?: string, given?: string): string {
  const text = jsonOf(owner, payload);
  if (type !== lastType) {
    lastTypeText = JSON.stringify(type);
    lastType = type;
  }
  const id = given === undefined ? `"${uuid()}"` : JSON.stringify(given);
  const scope = scopeNow();
  let corrId = id;
  let rest = '';
  if (scope !== undefined) {
    corrId = JSON.stringify(scope.corrId);
    if (scope.tenantId !== undefined) rest = `,"tenantId":${JSON.stringify(scope.tenantId)}`;
  }
  const trace = traceparent ?? scope?.traceparent;
  if (trace !== undefined) rest += `,"traceparent":${JSON.stringify(trace)}`;
  const begin = `${head(key)}"msg":{"id":${id},"type":${lastTypeText},"ts":"${now()}","corrId":${corrId}${rest}`;
  return `${begin},"payload":${text},"attempts":0}}`;
}

function head(key: string | undefined): string {
  return key === undefined ? '{' : `{"key":${JSON.stringify(key)},`;
}

/** A payload as JSON. */
function jsonOf(owner: string, payload: unknown): string {
  // JSON would make null of it, silently.
  if (typeof payload === 'number' && !Number.isFinite(payload)) throw configError(`${owner}: payload`, EXPRESSIBLE, payload);
  const text = stringify(owner, payload);
  if (text !== undefined) return text;
  if (typeof payload !== 'object') throw configError(`${owner}: payload`, EXPRESSIBLE, payload);
  throw new RedisError('config', `${owner}: payload: expected ${EXPRESSIBLE}, got one that JSON leaves out`);
}

function stringify(owner: string, value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new RedisError('config', `${owner}: payload: expected ${EXPRESSIBLE}, got one that JSON cannot express`, { cause });
  }
}

/** A message that was read. */
export interface Decoded {
  envelope: Envelope;
  key?: string | undefined;
  /** Where a reply to it is awaited. */
  reply?: string | undefined;
}

/**
 * A message as it arrived. It is parsed again for each handler, so that a change by one handler reaches no other; an envelope that is made
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
    // What is longer than a string can be came as an error.
    return (this.raw as { length?: number | undefined }).length ?? 0;
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
    const envelope = completed(msg) ?? completed(value);
    if (envelope === value) return { envelope };
    if (envelope !== undefined) {
      return {
        envelope,
        key: typeof key === 'string' ? key : undefined,
        reply: typeof reply === 'string' ? reply : undefined,
      };
    }
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
