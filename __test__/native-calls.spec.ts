/** What the native side says to calls that the face never makes: a number of another class, one that nobody has, one of what was let go. */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { PACKAGE_ROOT } from './support/process.ts';

interface Native {
  verbs(): string[];
  openPort(drain: () => void): number;
  closePort(port: number): void;
  open(port: number, kind: string, parent: number, options: string): string;
  release(port: number, handle: number): void;
  submit(port: number, words: Uint32Array, wordCount: number, bytes: Uint8Array, byteCount: number): void;
  drain(port: number, heads: Uint32Array): unknown[];
}

const dist = join(PACKAGE_ROOT, 'dist');
const binary = readdirSync(dist).find((name) => name.endsWith('.node'));
const native = createRequire(import.meta.url)(join(dist, String(binary))) as Native;
const verbs = native.verbs();
const port = native.openPort(() => {});
afterAll(() => native.closePort(port));

function open(kind: string, parent: number, options: object = {}): number {
  return (JSON.parse(native.open(port, kind, parent, JSON.stringify(options))) as { handle: number }).handle;
}

function refusal(kind: string, parent: number): unknown {
  const { error } = JSON.parse(native.open(port, kind, parent, '{}')) as { error: { kind: string; message: string } };
  return [error.kind, error.message];
}

/** Kind and message of the error with which a call without arguments is refused here and now. */
function answer(verb: number, target: number): unknown {
  native.submit(port, Uint32Array.of(verb, target, 7, 0), 4, new Uint8Array(), 0);
  const heads = new Uint32Array(2);
  const [value] = native.drain(port, heads);
  const { kind, message } = JSON.parse(String(value)) as { kind: string; message: string };
  return [heads[0], kind, message];
}

test('a verb is called on its own class only, and on nothing that was let go', () => {
  const manager = open('manager', 0, { url: 'memory://native-calls' });
  const kv = open('kv', manager);
  const queue = open('queue', manager, { name: 'q' });
  const another = [7, 'config', 'target: expected an object that has the verb, got another object'];
  const number = (name: string) => verbs.indexOf(name);
  for (const [target, name] of [
    [manager, 'kv.get'],
    [kv, 'manager.ping'],
    [kv, 'bus.publish'],
    [queue, 'registry.events'],
    [queue, 'worker.run'],
  ] as const) {
    expect(answer(number(name), target), name).toEqual(another);
  }
  // Its own first and last verbs it has: these say what is wrong with their arguments.
  expect(answer(number('kv.get'), kv)).toEqual([7, 'config', 'KVStore.get: key: expected a string of 1 to 1048576 bytes, got nothing']);
  expect(answer(number('kv.waitCancel'), kv)).toEqual([7, 'config', 'KVStore.wait: id: expected a whole number, got nothing']);
  expect(answer(number('kv.loadFailed'), kv)).toEqual([7, 'config', 'KVStore.getOrSet: id: expected a whole number, got nothing']);
  expect(answer(verbs.length, kv)).toEqual([7, 'config', `verb: expected a known one, got number ${verbs.length}`]);
  native.release(port, kv);
  expect(answer(number('kv.get'), kv)).toEqual([7, 'closed', 'the called object has been released']);
});

test('nothing is opened on what is not there, or is another thing', () => {
  const manager = open('manager', 0, { url: 'memory://native-calls' });
  const released = ['closed', 'the connection manager has been released'];
  expect(refusal('kv', 4_000)).toEqual(released);
  expect(refusal('kv', open('kv', manager))).toEqual(released);
  expect(refusal('worker', manager)).toEqual(['closed', 'the task queue has been released']);
  expect(refusal('clock', manager)).toEqual(['config', 'open: expected a known kind, got clock']);
});
