/** The text of a message: `{"key"?, "reply"?, "msg": Envelope}`. Texts that other programs publish are read too. */

import { jsonArgument } from '../arguments.js';
import { completed, type Envelope, envelopeOf, now } from '../envelope.js';
import { scopeNow } from '../scope.js';
import { uuid } from '../uuid.js';

/**
 * The text of a message with this envelope.
 *
 * @throws RedisError of kind `serialization` for a payload that JSON cannot express.
 */
export function encode(owner: string, envelope: Envelope, key?: string): string {
  const { payload } = envelope;
  // Checked by itself: inside the envelope JSON would silently drop an `undefined` or a function, and write `NaN` as null.
  const keeps = typeof payload === 'string' || (typeof payload === 'object' && (payload === null || !('toJSON' in payload)));
  if (!keeps) jsonArgument(`${owner}: payload`, payload);
  const text = jsonArgument(`${owner}: payload`, envelope);
  return `${head(key)}"msg":${text}}`;
}

let lastType = '';
let lastTypeText = '""';

/**
 * The text of a message with a bare value, in a new envelope. The envelope is written directly as text, which is a third faster than making the object
 * first.
 *
 * @throws RedisError as {@link encode}.
 */
export function encodeBare(owner: string, type: string, payload: unknown, key?: string, traceparent?: string, given?: string): string {
  const text = jsonArgument(`${owner}: payload`, payload);
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

/** A parsed message. */
export interface Decoded {
  envelope: Envelope;
  key?: string | undefined;
  /** The topic on which the requester awaits a reply. */
  reply?: string | undefined;
}

/**
 * A message as it arrived. It is parsed separately for each handler, so that a handler that changes its message affects no other handler. The id and
 * time of an envelope that is made for a bare value are the same for all handlers.
 */
export class Arrival {
  readonly topic: string;
  readonly raw: unknown;
  /** Was the message already reported as not JSON? */
  malformed = false;
  #envelope: Envelope | undefined;

  constructor(topic: string, raw: unknown) {
    this.topic = topic;
    this.raw = raw;
  }

  /** The length in characters, or in bytes if the message is not UTF-8. */
  get size(): number {
    // A message that is longer than the longest JavaScript string arrives as an Error, which has no length.
    return (this.raw as { length?: number | undefined }).length ?? 0;
  }

  /** The parsed message; `undefined` if it is not JSON. */
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

  /** An envelope for a payload that arrived without one. */
  #wrap(payload: unknown): Envelope {
    this.#envelope ??= envelopeOf(this.topic, undefined, undefined, undefined) as Envelope;
    return { ...this.#envelope, payload };
  }
}

/** Parses the text of a message from `topic`. */
export function decode(topic: string, raw: unknown): Decoded | undefined {
  return new Arrival(topic, raw).read();
}
