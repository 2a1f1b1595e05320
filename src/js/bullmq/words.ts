/** Converts arguments to the words of a command, and replies to the values that BullMQ reads. */

import type { BullMQStreams } from './interface.js';

/** A part of a command as it is sent. */
export type Word = string | Uint8Array;

/** A value as a word, as in ioredis: `null` and `undefined` become an empty string, bytes stay bytes, any other value becomes text. */
export function word(value: unknown): Word {
  if (typeof value === 'string') return value;
  if (value === null || value === undefined) return '';
  return value instanceof Uint8Array || ArrayBuffer.isView(value) ? (value as Uint8Array) : String(value);
}

/** Arguments as the words of a command. Arrays are flattened; an object or a `Map` becomes alternating fields and values. */
export function wordsOf(args: readonly unknown[]): Word[] {
  return args.flatMap((arg): Word[] => {
    if (Array.isArray(arg)) return wordsOf(arg);
    if (arg instanceof Map) return wordsOf([...arg].flat());
    if (typeof arg === 'object' && arg !== null && !ArrayBuffer.isView(arg)) return wordsOf(Object.entries(arg).flat());
    return [word(arg)];
  });
}

/** The object of a reply with alternating fields and values. */
export function toRecord(reply: unknown): Record<string, string> {
  const flat = reply as string[];
  const record: Record<string, string> = {};
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [field, value] = [flat[at] as string, flat[at + 1] as string];
    // An assignment to `__proto__` would set the prototype.
    if (field === '__proto__') Object.defineProperty(record, field, { value, enumerable: true, configurable: true, writable: true });
    else record[field] = value;
  }
  return record;
}

/** Alternating members and scores. With RESP3 the server sends pairs, which are flattened. */
export function withScores(reply: unknown): string[] {
  return (reply as (string | string[])[]).flat();
}

/** Streams with their entries. With RESP3 the server sends a map, which arrives as alternating streams and entries, and is paired here. */
export function toStreams(reply: unknown): BullMQStreams | null {
  if (reply === null) return null;
  const list = reply as unknown[];
  if (Array.isArray(list[0])) return list as BullMQStreams;
  const streams: BullMQStreams = [];
  for (let at = 0; at + 1 < list.length; at += 2) {
    streams.push([list[at] as string, list[at + 1] as BullMQStreams[number][1]]);
  }
  return streams;
}
