/**
 * Builds the binaries for Linux that this machine can, as they are published: for glibc 2.17 and later, and for musl. Loads each that
 * runs here.
 *
 *   node scripts/build-linux.mjs [folder] [--all]
 *
 * Needs cargo-zigbuild and zig, both of PyPI: `pip install cargo-zigbuild==0.24.1 ziglang==0.15.2`. A target whose standard library is not
 * installed is left out and named; with --all that is a failure. Nothing is fetched: `rustup target add` is the caller's.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { compareVersions, readBinary } from './binary.mjs';
import { platforms } from './platforms.mjs';
import { root } from './root.mjs';

const GLIBC = '2.17';
const folder = resolve(process.argv.slice(2).find((arg) => !arg.startsWith('--')) ?? join(root, 'target/binaries'));

if (spawnSync('cargo-zigbuild', ['--version'], { stdio: 'ignore' }).status !== 0) {
  console.error(
    'cargo-zigbuild is not on PATH: `pip install cargo-zigbuild==0.24.1 ziglang==0.15.2`, in a virtual environment that is active',
  );
  process.exit(1);
}
const sysroot = spawnSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).stdout.trim();
mkdirSync(folder, { recursive: true });
/** @type {string[]} */
const leftOut = [];
for (const platform of platforms.filter(({ os }) => os === 'linux')) {
  if (!existsSync(join(sysroot, 'lib/rustlib', platform.target, 'lib'))) {
    leftOut.push(platform.target);
    continue;
  }
  console.log(`${platform.name}: ${loads(platform, build(platform)) ?? 'built; this machine cannot load it'}`);
}
for (const target of leftOut) console.log(`left out: ${target}: \`rustup target add ${target}\` would bring what is missing`);
if (leftOut.length > 0 && process.argv.includes('--all')) process.exitCode = 1;

/** @param {import('./platforms.mjs').Platform} platform */
function build({ name, target, cpu, libc }) {
  // A shared library for musl links musl itself dynamically.
  const flags =
    libc === 'musl' ? { [`CARGO_TARGET_${target.toUpperCase().replaceAll('-', '_')}_RUSTFLAGS`]: '-C target-feature=-crt-static' } : {};
  const args = ['zigbuild', '--release', '--locked', '--lib', '--target', libc === 'glibc' ? `${target}.${GLIBC}` : target];
  const { status } = spawnSync('cargo', args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...flags } });
  if (status !== 0) process.exit(status ?? 1);
  const file = join(folder, `redis-backplane.${name}.node`);
  copyFileSync(join(root, 'target', target, 'release/libredis_backplane.so'), file);
  const is = readBinary(file);
  if (is.cpu !== cpu || is.libc !== libc) throw new Error(`${file} is for ${is.cpu} ${is.libc}`);
  if (is.glibc !== undefined && compareVersions(is.glibc, GLIBC) > 0) throw new Error(`${file} needs glibc ${is.glibc}`);
  return file;
}

/** @param {import('./platforms.mjs').Platform} platform @param {string} file */
function loads({ cpu, libc }, file) {
  const own = readBinary(process.execPath);
  if (cpu !== process.arch || libc !== own.libc) return undefined;
  const code = 'console.log(require(process.argv[1]).verbs().length)';
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', code, file], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${file} does not load: ${stderr}`);
  return `built, and loaded: ${stdout.trim()} calls`;
}
