/** The error messages for a native binary that could not be loaded. They say what to do. */

import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { glibcVersion } from './libc.js';

/** The platforms for which there are binaries. */
export const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc',
] as const;
export type Platform = (typeof PLATFORMS)[number];

/** The first bytes of a file with native code. */
const MAGIC: Partial<Record<NodeJS.Platform, [format: string, start: string]>> = {
  darwin: ['Mach-O', '\xcf\xfa\xed\xfe'],
  linux: ['ELF', '\x7fELF'],
  win32: ['Windows', 'MZ'],
};

const SEE = 'see docs/deploying.md of redis-backplane';

/** The folder of this code's file. In a bundle that is an ES module, which has no `__dirname`: the folder of the program. */
export function ownFolder(): string {
  return typeof __dirname === 'string' ? __dirname : dirname(process.argv[1] ?? process.execPath);
}

/** Is this code in a user's bundle, and no longer in `face.js`? */
function isBundled(): boolean {
  return typeof __filename !== 'string' || basename(__filename) !== 'face.js';
}

/** The message for a `require` of the package for `platform` that failed with `cause`. */
export function whyNotFound(platform: Platform, cause: unknown): string {
  const name = `redis-backplane-${platform}`;
  const folder = installed(name);
  const file = fileOf(platform);
  if (isDlopenFailure(cause) || file !== undefined) return whyNotLoaded(file, cause);
  if (isBundled()) {
    return (
      `redis-backplane was bundled without its native binary (${name}). Keep the package out of the bundle (mark redis-backplane as ` +
      `external), have the bundler copy .node files, put redis-backplane.${platform}.node beside the bundle, or name the file in ` +
      `REDIS_BACKPLANE_BINARY; ${SEE}`
    );
  }
  if (folder) return `${folder} is damaged: redis-backplane.${platform}.node is missing from it. Remove node_modules and install again`;
  const others = PLATFORMS.filter((other) => installed(`redis-backplane-${other}`));
  if (others.length > 0) {
    return (
      `redis-backplane was installed for ${others.join(', ')}, and this is ${platform}: ${name} is not installed. Install on the ` +
      `platform that runs it, and copy no node_modules from another`
    );
  }
  return (
    `${name} is not installed: it is the optional dependency of redis-backplane with the native binary for this platform. Either ` +
    'optional dependencies were left out (install without --omit=optional and --no-optional), or the lock file was written on another ' +
    'platform and npm keeps to it (https://github.com/npm/cli/issues/4828): remove node_modules and package-lock.json, and install ' +
    `again; ${SEE}`
  );
}

/** The message for an existing `file` that could not be loaded. */
export function whyNotLoaded(file: string | undefined, cause: unknown): string {
  const { code, name, message } = cause as Partial<NodeJS.ErrnoException>;
  const what = file === undefined ? 'the native binary of redis-backplane' : `the native binary of redis-backplane, ${file},`;
  // The two names are Deno's.
  if (code === 'ERR_DLOPEN_DISABLED' || name === 'NotCapable' || name === 'PermissionDenied') {
    return (
      'redis-backplane is a native addon, and this process may load none: start it without --no-addons, with --allow-addons beside ' +
      '--permission, in Deno with --allow-ffi'
    );
  }
  const [, needed] = /GLIBC_(\d+(?:\.\d+)+)/.exec(message ?? '') ?? [];
  if (needed !== undefined) {
    const found = glibcVersion();
    return `${what} needs glibc ${needed} or later${found === undefined ? '' : `, and this system has ${found}`}`;
  }
  return `${what} could not be loaded: ${message?.split('\n')[0] ?? String(cause)}`;
}

function isDlopenFailure(cause: unknown): boolean {
  return /^ERR_DLOPEN_/.test(String((cause as Partial<NodeJS.ErrnoException>).code));
}

/**
 * The folder of an installed package. `require.resolve` with an expression would make file tracers include whole folders and bundlers warn, so the
 * folders are searched here.
 */
function installed(name: string): string | undefined {
  const folders = typeof module === 'object' && Array.isArray(module.paths) ? module.paths : [];
  return folders.map((folder) => join(folder, name)).find((folder) => existsSync(folder));
}

/** The binary in the installed package for `platform`; `undefined` if there is none, or if this code is bundled. */
export function fileOf(platform: Platform): string | undefined {
  const folder = isBundled() ? undefined : installed(`redis-backplane-${platform}`);
  const file = folder && join(folder, `redis-backplane.${platform}.node`);
  return file && existsSync(file) ? file : undefined;
}

/** Throws if the file is damaged. Loading a truncated file would end the process by a signal, without a message. */
export function checkWhole(file: string): void {
  const damage = damageOf(file);
  if (damage === undefined) return;
  throw new Error(`the native binary of redis-backplane, ${file}, is damaged: ${damage}. Remove node_modules and install again`);
}

/** The damage of a file with native code; `undefined` if none is found. */
function damageOf(file: string): string | undefined {
  const [format, start] = MAGIC[process.platform] ?? [];
  if (format === undefined || start === undefined) return undefined;
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    const { size } = fstatSync(fd);
    const head = Buffer.alloc(64);
    readSync(fd, head, 0, head.length, 0);
    if (!head.toString('latin1').startsWith(start)) return `it is no ${format} file`;
    if (format !== 'ELF') return undefined;
    // The table of sections is the last part of an ELF file.
    const length = Number(head.readBigUInt64LE(40)) + head.readUInt16LE(58) * head.readUInt16LE(60);
    return size < length ? `it has ${size} of at least ${length} bytes` : undefined;
  } catch {
    // Loading the file gives the operating system's error.
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
