/** The native addon: found once, its exports typed. Nothing else of the face loads it. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isMusl } from './libc.js';

/** What `src/node/exports.rs` exports. */
export interface Native {
  verbs(): string[];
  commands(): string[];
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

function platformName(): string {
  const { platform, arch } = process;
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`;
  if (platform === 'win32') return `win32-${arch}-msvc`;
  return `${platform}-${arch}`;
}

function load(): Native {
  const name = platformName();
  const beside = join(__dirname, `redis-backplane.${name}.node`);
  const wanted = existsSync(beside) ? beside : `redis-backplane-${name}`;
  try {
    return require(wanted) as Native;
  } catch (cause) {
    throw new Error(
      `redis-backplane has no native binary for ${name}: its optional dependency ${`redis-backplane-${name}`} is not installed ` +
        '(install without --omit=optional, on the platform that runs it)',
      { cause },
    );
  }
}

export const native: Native = load();

/** The names of all verbs; a verb's number is its place. */
export const verbNames: readonly string[] = native.verbs();
const numbers = new Map(verbNames.map((name, number) => [name, number]));

/** The name of a verb. */
export function verbName(number: number): string {
  return verbNames[number] ?? 'unknown';
}

/** The number of the verb called `name`. */
export function verb(name: string): number {
  const number = numbers.get(name);
  if (number === undefined) {
    throw new Error(`redis-backplane: its native binary is of another version: it has no ${name}`);
  }
  return number;
}
