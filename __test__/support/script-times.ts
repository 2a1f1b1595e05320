/** Measures how long each script of the package blocks a server, by the server's own clock. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { RedisConnectionManager } from 'redis-backplane';
import type { RedisServer } from './redis-server.ts';

const SOURCE = new URL('../../src/', import.meta.url);
const FOLDERS = ['kv', 'queue', 'registry', 'bus/durable', 'sessions'];

/** The names of all scripts of the package, by SHA-1 digest. The texts are put together as in `scripts.rs`. */
export function scriptNames(): Map<string, string> {
  const names = new Map<string, string>();
  for (const folder of FOLDERS) {
    const text = readFileSync(new URL(`${folder}/scripts.rs`, SOURCE), 'utf8');
    const file = (name: string) => readFileSync(new URL(`${folder}/lua/${name}`, SOURCE), 'utf8');
    for (const [, body] of text.matchAll(/^scripts! \{\n((?: {4}.*\n)+)\}/gm)) {
      const before = /^ {4}before \[(.*)\];$/m.exec(String(body))?.[1] ?? '';
      const shared = [...before.matchAll(/"([\w/.]+)"/g)].map(([, name]) => file(String(name)));
      for (const [, name, parts] of String(body).matchAll(/^ {4}([A-Z_]+) = ((?:"[\w/.]+\.lua"[ ,;]*)+)/gm)) {
        const own = [...String(parts).matchAll(/"([\w/.]+)"/g)].map(([, part]) => file(String(part)));
        const digest = createHash('sha1')
          .update([...shared, ...own].join(''))
          .digest('hex');
        names.set(digest, `${folder}: ${name}`);
      }
    }
  }
  return names;
}

/** Milliseconds of one call, by script, or by command if it is not a script. */
export type Times = Map<string, number>;

/** Makes the server log the time of every command. As root on Linux, the server gets real-time priority, so that other processes interrupt it less. */
export async function watchTimes(server: RedisServer): Promise<void> {
  spawnSync('chrt', ['--fifo', '--pid', '10', String(server.pid)]);
  await server.cli('CONFIG', 'SET', 'slowlog-max-len', '100000');
  await server.cli('CONFIG', 'SET', 'slowlog-log-slower-than', '0');
  await server.cli('SLOWLOG', 'RESET');
}

/**
 * Milliseconds for which the server waited for a processor, because other processes or the machine's host used it. The server's clock goes on
 * meanwhile. `undefined` on systems other than Linux.
 */
export function kept(server: RedisServer): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const waited = Number(readFileSync(`/proc/${server.pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  const stolen = Number(/^cpu +(?:\d+ +){7}(\d+)/.exec(readFileSync('/proc/stat', 'utf8'))?.[1]) * 10;
  return waited + stolen;
}

/**
 * The longest call of each script since the previous call of this function. The slowest hundredth of a script's calls is left out, because the system may
 * have interrupted them.
 */
export async function longestCalls(reader: RedisConnectionManager, names: Map<string, string>): Promise<Times> {
  const log = (await reader.command('SLOWLOG', 'GET', '-1')) as [number, number, number, string[]][];
  await reader.command('SLOWLOG', 'RESET');
  const all = new Map<string, number[]>();
  for (const [, , microseconds, words] of log) {
    const command = String(words[0]).toUpperCase();
    const script = command.startsWith('EVAL') ? scriptOf(command, String(words[1]), names) : command;
    if (['SLOWLOG', 'INFO', 'CONFIG', 'AUTH', 'CLIENT', 'HELLO'].includes(script)) continue;
    const calls = all.get(script) ?? [];
    calls.push(microseconds);
    all.set(script, calls);
  }
  const longest: Times = new Map();
  for (const [script, calls] of all) {
    calls.sort((one, other) => other - one);
    longest.set(script, (calls[Math.floor(calls.length / 100)] ?? 0) / 1000);
  }
  return longest;
}

function scriptOf(command: string, word: string, names: Map<string, string>): string {
  const digest = command === 'EVAL' ? createHash('sha1').update(word).digest('hex') : word;
  return names.get(digest) ?? `unknown script ${digest}`;
}
