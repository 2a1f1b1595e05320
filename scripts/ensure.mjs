/** Finds the programs that the build and the tests need, installs them if that needs no question, or explains how to install them. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { installHint } from './install-hints.mjs';

/** @typedef {import('./install-hints.mjs').Program} Program */

/** Debian packages that bring a program. @type {Partial<Record<Program, string>>} */
const packages = { 'redis-server': 'redis-server', cc: 'build-essential', openssl: 'openssl', 'llvm-profdata-19': 'llvm-19' };

/**
 * Makes sure that `program` can be started: looks on PATH, installs it with apt-get when that works
 * without a question (as root, or with a sudo that asks no password), and else ends this process
 * with what to install.
 * @param {Program} program
 * @param {string} why
 */
export function ensure(program, why) {
  if (onPath(program)) return;
  const name = packages[program];
  const admin = administrator();
  if (name && onPath('apt-get') && admin) {
    console.log(`${program} is not installed, and ${why}; installing it with apt-get`);
    // The package's own service is not started, because tests start their own servers.
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    const apt = (/** @type {string[]} */ ...args) =>
      spawnSync(admin[0] ?? 'apt-get', [...admin.slice(1), ...(admin.length > 0 ? ['apt-get'] : []), ...args], {
        stdio: ['ignore', 'inherit', 'inherit'],
        env,
      });
    const install = () => apt('install', '-y', '--no-install-recommends', name).status === 0;
    if (install() || (apt('update').status === 0 && install())) {
      if (onPath(program)) return;
    }
  }
  console.error(installHint(program, why));
  process.exit(1);
}

/** Is a program on PATH? cargo may also be in rustup's folder, which is then added to PATH. @param {string} program */
function onPath(program) {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const names = process.platform === 'win32' ? [`${program}.exe`, `${program}.cmd`] : [program];
  if (folders.some((folder) => names.some((name) => existsSync(join(folder, name))))) return true;
  const rustup = join(homedir(), '.cargo/bin');
  if (program !== 'cargo' || !names.some((name) => existsSync(join(rustup, name)))) return false;
  process.env.PATH = [rustup, ...folders].join(delimiter);
  return true;
}

/** The prefix that makes a command run as root; `undefined` if that needs a password. @returns {string[] | undefined} */
function administrator() {
  if (process.getuid?.() === 0) return [];
  return onPath('sudo') && spawnSync('sudo', ['-n', 'true']).status === 0
    ? ['sudo', '-n', 'env', 'DEBIAN_FRONTEND=noninteractive']
    : undefined;
}

/** Ensures the programs for compiling: Rust, and a C compiler for Lua and for the cryptography of TLS. */
export function ensureCompilers() {
  ensure('cargo', 'the package is written in Rust');
  ensure('cc', 'Lua and the cryptography under TLS are compiled from C');
}
