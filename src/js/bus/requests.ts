/** Requests and their replies. */

import { onAbort } from '../aborts.js';
import { cancelled, checkSignal, MAX_MS, optionsOf, refuseUnknown } from '../arguments.js';
import { createEnvelope, type Envelope, envelopeOf } from '../envelope.js';
import { configError, messageOf, RedisError } from '../errors.js';
import { verbs } from '../native.js';
import type { BusInternals } from './internals.js';
import type { MessageContext, RequestOptions } from './options.js';
import { replyOf } from './subscription.js';
import { encode } from './wire.js';

const V = verbs('bus', 'request', 'requestCancel', 'reply');

const brand = Symbol.for('redis-backplane.ResponderError');

/** A responder's error as the reply describes it. */
interface RemoteFailure {
  name?: unknown;
  message?: unknown;
  code?: unknown;
}

/**
 * The error of a responder, thrown by `request()`. It has the kind `server`, and the name, message and code of the responder's error.
 *
 * @example
 * try {
 *   await bus.request('price', { sku: 'book' });
 * } catch (error) {
 *   if (error instanceof ResponderError) console.log(error.name, error.message);
 * }
 */
export class ResponderError extends RedisError {
  /** The name of the responder's error: `TypeError`, `OrderNotFound`, … */
  readonly remoteName: string;
  /** The `code` of the responder's error, if it had one. */
  readonly remoteCode?: string | undefined;

  constructor(message: string, remoteName: string, remoteCode?: string) {
    super('server', message, { delivery: 'maybe-executed', serverCode: remoteCode ?? remoteName });
    this.name = 'ResponderError';
    this.remoteName = remoteName;
    if (remoteCode !== undefined) this.remoteCode = remoteCode;
    Object.defineProperty(this, brand, { value: true });
  }

  /** True for an error of any copy of this package, in any VM context. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && brand in value;
  }
}

/** Publishes a request and waits for the first reply to it. */
export async function request<R>(bus: BusInternals, topic: string, payload: unknown, options: RequestOptions | undefined): Promise<R> {
  const { timeoutMs, signal, ...rest } = optionsOf('MessageBus.request: options', options);
  refuseUnknown('MessageBus.request', rest, ['timeoutMs', 'signal']);
  checkSignal('MessageBus.request: signal', signal);
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 1 && timeoutMs <= MAX_MS)) {
    throw configError('MessageBus.request: timeoutMs', `a number of milliseconds from 1 to ${MAX_MS}`, timeoutMs);
  }
  if (signal?.aborted) throw cancelled('MessageBus.request', signal);
  const { port, handle } = bus;
  const envelope = createEnvelope(topic, payload);
  const text = encode('MessageBus.request', envelope);
  const cancel = (): void => {
    // A failure needs no report: the request may have just been answered.
    port.callQuietly(handle, V.requestCancel, envelope.id).catch(() => {});
  };
  const forget = onAbort(signal, cancel);
  try {
    return payloadOf<R>(await port.call(handle, V.request, topic, envelope.id, text, timeoutMs));
  } catch (error) {
    if (error instanceof RedisError && error.redisErrorKind === 'cancelled') {
      throw new RedisError('cancelled', error.message, { cause: signal?.reason, delivery: 'maybe-executed' });
    }
    throw error;
  } finally {
    forget();
  }
}

/** The payload of a reply. Throws the error of a reply that carries an error. */
function payloadOf<R>(raw: unknown): R {
  let reply: { msg?: { payload?: unknown } | undefined; error?: RemoteFailure | undefined } | undefined;
  try {
    if (typeof raw === 'string') reply = JSON.parse(raw) as typeof reply;
  } catch {
    // A reply that is not JSON throws below.
  }
  const error = reply?.error;
  if (typeof error === 'object' && error !== null) {
    const { name, message, code } = error;
    throw new ResponderError(String(message), typeof name === 'string' ? name : 'Error', typeof code === 'string' ? code : undefined);
  }
  const msg = reply?.msg;
  if (typeof msg === 'object' && msg !== null && Object.hasOwn(msg, 'payload')) return msg.payload as R;
  throw new RedisError('serialization', 'MessageBus.request: expected a reply, got a message of another form', {
    delivery: 'maybe-executed',
  });
}

/** The handler of a responder's subscription. It replies with the result of `handler`, or with its error, and then throws that error for the bus. */
export function responding(bus: BusInternals, handler: (payload: never, envelope: Envelope<never>) => unknown) {
  return async (envelope: Envelope<never>, context: MessageContext): Promise<void> => {
    const to = replyOf(context);
    const send = (text: string): Promise<unknown> => bus.port.call(bus.out, V.reply, to, text);
    let text: string;
    try {
      const result = await handler(envelope.payload, envelope);
      const reply = envelopeOf(envelope.type, result === undefined ? null : result, envelope.corrId, envelope.tenantId);
      text = `{"re":${JSON.stringify(envelope.id)},${encode('MessageBus.respond', reply).slice(1)}`;
    } catch (error) {
      await send(JSON.stringify({ re: envelope.id, error: failureOf(error) }));
      throw error;
    }
    await send(text);
  };
}

function failureOf(error: unknown): RemoteFailure {
  const message = messageOf(error);
  if (typeof error !== 'object' || error === null) return { name: 'Error', message };
  const { name, code } = error as { name?: unknown; code?: unknown };
  return {
    name: typeof name === 'string' ? name : 'Error',
    message,
    ...(typeof code === 'string' && { code }),
  };
}
