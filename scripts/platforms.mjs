/** The platforms that have a binary, from `napi.targets` of package.json. Run as a program, this file lists their names. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './root.mjs';

/** @typedef {{ name: string, target: string, os: string, cpu: string, libc?: 'glibc' | 'musl' }} Platform */

/** The parts of a target's name, with their names in Node and npm. @type {Record<string, string>} */
const processors = { x86_64: 'x64', aarch64: 'arm64' };
/** @type {Record<string, Pick<Platform, 'os' | 'libc'> & { abi?: string }>} */
const systems = {
  'apple-darwin': { os: 'darwin' },
  'pc-windows-msvc': { os: 'win32', abi: 'msvc' },
  'unknown-linux-gnu': { os: 'linux', abi: 'gnu', libc: 'glibc' },
  'unknown-linux-musl': { os: 'linux', abi: 'musl', libc: 'musl' },
};

/** @type {Platform[]} */
export const platforms = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).napi.targets.map((/** @type {string} */ target) => {
  const [, processor = '', system = ''] = /^([^-]+)-(.+)$/.exec(target) ?? [];
  const [cpu, known] = [processors[processor], systems[system]];
  if (cpu === undefined || known === undefined)
    throw new Error(`package.json: napi.targets: ${target} is unknown to scripts/platforms.mjs`);
  const { abi, ...rest } = known;
  return { name: [known.os, cpu, abi].filter(Boolean).join('-'), target, cpu, ...rest };
});

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) console.log(platforms.map(({ name }) => name).join('\n'));
