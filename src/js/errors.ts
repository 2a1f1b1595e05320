/** The error class of this package, and the texts of its messages. */

/** What kind of failure a {@link RedisError} is. */
export type RedisErrorKind =
  /** The caller's arguments or configuration. */
  | 'config'
  /** Redis is switched off: `REDIS_ENABLED=false`. */
  | 'disabled'
  /** Refused, reset, lost, or the name did not resolve. */
  | 'connection'
  /** The server refused the credentials, or they do not permit the command. */
  | 'auth'
  /** The TLS handshake failed. */
  | 'tls'
  /** A connect, command or wait deadline passed. */
  | 'timeout'
  /** Used after `disconnect()` or `close()`. */
  | 'closed'
  /** Too many commands or bytes are waiting for the server. */
  | 'overloaded'
  /** The server answered with an error: `WRONGTYPE`, `OOM`, `READONLY`, … */
  | 'server'
  /** A value cannot become JSON, or stored bytes are not what was expected. */
  | 'serialization'
  /** A lock, job, registration or thread now belongs to another holder. */
  | 'lease-lost'
  /** Another writer was faster: the data that the caller has read are no longer the latest. */
  | 'conflict'
  /** The caller's `AbortSignal` was aborted. */
  | 'cancelled';

/**
 * Did the server possibly act? `not-sent`: not a byte left this process. `maybe-executed`: the call was sent, and no answer came. `rejected`: the
 * server refused the call.
 */
export type RedisErrorDelivery = 'not-sent' | 'maybe-executed' | 'rejected';

/** Further fields of a {@link RedisError}. */
export interface RedisErrorFields {
  /** The first word of an error reply, such as `WRONGTYPE`. */
  serverCode?: string | undefined;
  /** Default false. */
  retryable?: boolean | undefined;
  /** Default `not-sent`. */
  delivery?: RedisErrorDelivery | undefined;
  /** The error that caused this error. */
  cause?: unknown;
}

const brand = Symbol.for('redis-backplane.RedisError');

/**
 * Every failure of this package. `instanceof RedisError` holds across copies of the package and across VM contexts.
 * No message contains a password, the credentials of a URL or a payload.
 *
 * @example
 * try {
 *   await kv.set('k', 1);
 * } catch (error) {
 *   if (error instanceof RedisError && error.delivery === 'not-sent') await kv.set('k', 1);
 *   else throw error;
 * }
 */
export class RedisError extends Error {
  /** What kind of failure it is. */
  readonly redisErrorKind: RedisErrorKind;
  /** Stable, one per kind: `ERR_REDIS_TIMEOUT`, `ERR_REDIS_LEASE_LOST`, … */
  readonly code: string;
  /** The first word of an error reply (`WRONGTYPE`, `NOAUTH`, …), for kinds `server` and `auth`. */
  readonly serverCode?: string | undefined;
  /** May a retry of the same call succeed? `delivery` says whether a retry is safe. */
  readonly retryable: boolean;
  /** Did the server possibly act on the call? */
  readonly delivery: RedisErrorDelivery;

  constructor(kind: RedisErrorKind, message: string, fields: RedisErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.name = 'RedisError';
    this.redisErrorKind = kind;
    this.code = `ERR_REDIS_${kind.toUpperCase().replace('-', '_')}`;
    if (fields.serverCode !== undefined) this.serverCode = fields.serverCode;
    this.retryable = fields.retryable ?? false;
    this.delivery = fields.delivery ?? 'not-sent';
    Object.defineProperty(this, brand, { value: true });
  }

  /** True for an error of any copy of this package, in any VM context. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && brand in value;
  }
}

/** An error as the native side sends it. */
export interface Failure {
  kind?: RedisErrorKind | undefined;
  code?: string | null | undefined;
  message: string;
  serverCode?: string | undefined;
  retryable: boolean;
  delivery: RedisErrorDelivery;
  cause?: Failure | undefined;
}

/** The error that the fields of the native side describe, with its causes. */
export function toError(failure: Failure): Error {
  const cause = failure.cause === undefined ? undefined : toError(failure.cause);
  if (failure.kind === undefined) {
    const error = new Error(failure.message, cause === undefined ? undefined : { cause });
    return failure.code ? Object.assign(error, { code: failure.code }) : error;
  }
  const { serverCode, retryable, delivery } = failure;
  return new RedisError(failure.kind, failure.message, { serverCode, retryable, delivery, cause });
}

/** An error about an argument. */
export function configError(name: string, expected: string, got: unknown): RedisError {
  return new RedisError('config', `${name}: expected ${expected}, got ${describe(got)}`);
}

/** A description of a value for an error message. It never contains the text of a string. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return `a string of ${value.length} characters`;
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'bigint':
      return 'a BigInt';
    case 'object':
      return value === null ? 'null' : describeObject(value);
    default:
      return `a ${typeof value}`;
  }
}

/** `a Map`, `an array`, `an instance of Config`; `an object` for a plain object, or if the class has no name. */
function describeObject(value: object): string {
  try {
    if (Array.isArray(value)) return 'an array';
    const tag = Object.prototype.toString.call(value).slice('[object '.length, -1);
    if (tag !== 'Object') return `${/^[AEIO]/.test(tag) ? 'an' : 'a'} ${tag}`;
    const made: unknown = Object.getPrototypeOf(value)?.constructor?.name;
    return typeof made === 'string' && made !== '' && made !== 'Object' ? `an instance of ${made}` : 'an object';
  } catch {
    return 'an object';
  }
}

/** The message of a thrown value. Never throws. */
export function messageOf(error: unknown): string {
  try {
    if (typeof error === 'object' && error !== null && 'message' in error) return String(error.message);
    return String(error);
  } catch {
    // An object that cannot become a string.
    return 'an error that cannot be shown';
  }
}

/** Reports the error of a user's listener as a process warning, so that it affects neither other listeners nor the process. */
export function warnOfListener(thrown: unknown): void {
  process.emitWarning(isReadable(thrown) ? thrown : new Error(messageOf(thrown)), 'RedisListenerWarning');
}

/** Is it an Error whose name, message and stack can be read? `process.emitWarning` reads these. */
function isReadable(thrown: unknown): thrown is Error {
  try {
    return thrown instanceof Error && `${thrown.name} ${thrown.message} ${thrown.stack}` !== '';
  } catch {
    return false;
  }
}
