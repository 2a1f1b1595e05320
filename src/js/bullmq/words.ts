/** How values become the words of a command, and replies what BullMQ reads. */

import type { BullMQStreams } from './interface.js';

/** A part of a command as it is sent. */
export type Word = string | Uint8Array;

/** As ioredis does: nothing is an empty string, bytes are bytes, the rest is text. */
export function word(value: unknown): Word {
  if (typeof value === 'string') return value;
  if (value === null || value === undefined) return '';
  return value instanceof Uint8Array || ArrayBuffer.isView(value) ? (value as Uint8Array) : String(value);
}

/** Arguments as the words of a command: lists one after another, an object or a `Map` as fields and values in turn. */
export function wordsOf(args: readonly unknown[]): Word[] {
  return args.flatMap((arg): Word[] => {
    if (Array.isArray(arg)) return wordsOf(arg);
    if (arg instanceof Map) return wordsOf([...arg].flat());
    if (typeof arg === 'object' && arg !== null && !ArrayBuffer.isView(arg)) return wordsOf(Object.entries(arg).flat());
    return [word(arg)];
  });
}

/** An object of a reply's fields and values. */
export function toRecord(reply: unknown): Record<string, string> {
  const flat = reply as string[];
  const record: Record<string, string> = {};
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [field, value] = [flat[at] as string, flat[at + 1] as string];
    // Assigned, it would be the prototype.
    if (field === '__proto__') Object.defineProperty(record, field, { value, enumerable: true, configurable: true, writable: true });
    else record[field] = value;
  }
  return record;
}

/** Members and scores in turn, whether the server pairs them or not. */
export function withScores(reply: unknown): string[] {
  return (reply as (string | string[])[]).flat();
}

/** Streams with their entries, whether the server pairs them or not. */
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
