/** The reason and the stack that are stored for a failed attempt, and the reading of stored JSON. */

import { RedisError } from '../errors.js';

/** The longest stored reason and stack, in characters. */
const MAX_REASON = 4_096;
const MAX_STACK = 16_384;
/** How many causes of an error are stored with their stacks. */
const MAX_CAUSES = 5;

/** The message of a thrown value, or a text in its place. Never throws. */
export function reasonOf(thrown: unknown): string {
  try {
    const message = typeof thrown === 'object' && thrown !== null ? (thrown as { message?: unknown }).message : thrown;
    if (typeof message === 'string' && message !== '') return cut(message, MAX_REASON);
    if (typeof thrown === 'object' && thrown !== null) return cut(nameOf(thrown), MAX_REASON);
    return cut(String(thrown === '' ? 'an empty text was thrown' : thrown), MAX_REASON);
  } catch {
    return 'what was thrown cannot be read';
  }
}

/** The stack of a thrown error and of its causes. Never throws. */
export function stackOf(thrown: unknown): string | undefined {
  try {
    const parts: string[] = [];
    let at = thrown;
    for (let depth = 0; depth <= MAX_CAUSES && typeof at === 'object' && at !== null; depth++) {
      const { stack, cause } = at as { stack?: unknown; cause?: unknown };
      if (typeof stack === 'string') parts.push(depth === 0 ? stack : `caused by ${stack}`);
      at = cause;
    }
    return parts.length === 0 ? undefined : cut(parts.join('\n'), MAX_STACK);
  } catch {
    return undefined;
  }
}

/** Stored JSON as a value. */
export function parseStored(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RedisError('serialization', `${what}: the stored text is damaged: expected JSON`, { cause: withoutText(cause) });
  }
}

/** An error without the message of `JSON.parse`, which repeats a part of the payload. */
function withoutText(cause: unknown): Error {
  return new Error(cause instanceof SyntaxError ? 'a syntax error' : 'it cannot be parsed');
}

function nameOf(thrown: object): string {
  const name = (thrown as { name?: unknown }).name;
  return typeof name === 'string' && name !== '' ? name : `${Array.isArray(thrown) ? 'an array' : 'an object'} was thrown`;
}

/** The first `most` characters. A cut surrogate pair is replaced, since UTF-8 cannot express half of it. */
function cut(text: string, most: number): string {
  return text.slice(0, most).toWellFormed();
}
