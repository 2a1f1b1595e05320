/** The native addon, with the types of its exports. No other file of the face loads it. */

import { loadBinary } from './loader.js';

/** The exports of `src/node/exports.rs`. */
export interface Native {
  verbs(): string[];
  commands(): string[];
  unknownOption(owner: string, name: string, known: readonly string[]): string;
  openPort(drain: () => void): number;
  closePort(port: number): void;
  holdPort(port: number, hold: boolean): void;
  open(port: number, kind: string, parent: number, options: string): string;
  release(port: number, handle: number): void;
  submit(port: number, words: Uint32Array, wordCount: number, bytes: Uint8Array, byteCount: number): void;
  drain(port: number, heads: Uint32Array): unknown[];
  state(port: number, manager: number): string;
  metrics(port: number, manager: number): string;
  prometheus(port: number, manager: number): string;
  ioredisOptions(port: number, manager: number): string;
  memory(name: string, action: string, given: number): string;
}

export const native = loadBinary() as Native;

/** The names of all verbs. The number of a verb is its index. */
export const verbNames: readonly string[] = native.verbs();
const numbers = new Map(verbNames.map((name, number) => [name, number]));

/** The name of a verb. */
export function verbName(number: number): string {
  return verbNames[number] ?? 'unknown';
}

/** The numbers of a class's verbs, by name. Throws if the binary does not know a name. */
export function verbs<Name extends string>(space: string, ...names: Name[]): Readonly<Record<Name, number>>;
export function verbs(space: string, ...names: string[]): Readonly<Record<string, number>> {
  return Object.fromEntries(names.map((name) => [name, numberOf(`${space}.${name}`)]));
}

function numberOf(name: string): number {
  const number = numbers.get(name);
  if (number === undefined) {
    throw new Error(`redis-backplane: its native binary is of another version: it has no ${name}`);
  }
  return number;
}
