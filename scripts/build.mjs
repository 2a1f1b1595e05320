/**
 * Builds the stale parts of dist/: the native addon (dev profile unless --release) and the TypeScript face; with --face only the face.
 *
 * A hash of the inputs' contents is kept for each part, so that switching branches or touching files rebuilds nothing. cargo and tsc
 * decide for themselves what to compile.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureCompilers } from './ensure.mjs';
import { bundleFace } from './face.mjs';
import { root, tool } from './root.mjs';

/**
 * @param {{ release?: boolean, faceOnly?: boolean, coverage?: boolean }} [options] coverage: the compiler is told by the environment (see
 * coverage.mjs)
 */
export async function build({ release = false, faceOnly = false, coverage = false } = {}) {
  if (!faceOnly) await buildNative(release, coverage);
  const face = () => ['index.js', 'face.js'].every((name) => existsSync(join(root, 'dist', name)));
  await refresh(
    'face',
    hash(
      ['tsconfig.json', 'package-lock.json', 'scripts/face.mjs', 'scripts/subpaths.mjs', 'src/js'],
      /\.(m?js|ts|json)$/,
      coverage ? 'coverage' : '',
    ),
    face,
    () => {
      run('tsc', ['-p', 'tsconfig.json']);
      return bundleFace({ sourceMap: coverage });
    },
  );
}

/**
 * @param {boolean} release
 * @param {boolean} coverage
 */
function buildNative(release, coverage) {
  const addon = () => existsSync(join(root, 'dist')) && readdirSync(join(root, 'dist')).some((name) => name.endsWith('.node'));
  return refresh(
    'native',
    hash(
      ['Cargo.toml', 'Cargo.lock', 'build.rs', 'src', 'vendor'],
      /\.(rs|lua|toml|lock|c|h)$/,
      coverage ? 'coverage' : release ? 'release' : 'dev',
    ),
    addon,
    () => {
      ensureCompilers();
      run('napi', ['build', '--platform', ...(release ? ['--release'] : []), '--no-js', '--dts', 'native.d.ts', '--output-dir', 'dist']);
    },
  );
}

/**
 * Runs `make` unless `part` was made from the same inputs and is still there.
 * @param {string} part
 * @param {string} inputs
 * @param {() => boolean} there
 * @param {() => void | Promise<void>} make
 */
async function refresh(part, inputs, there, make) {
  const stamp = join(root, 'target/built', part);
  if (there() && existsSync(stamp) && readFileSync(stamp, 'utf8') === inputs) return;
  const started = performance.now();
  console.log(`building: ${part}`);
  await make();
  mkdirSync(join(root, 'target/built'), { recursive: true });
  writeFileSync(stamp, inputs);
  console.log(`built: ${part}, ${((performance.now() - started) / 1_000).toFixed(1)} s`);
}

/**
 * A hash over the contents of files, and of those in folders whose name matches.
 * @param {string[]} paths
 * @param {RegExp} wanted
 * @param {string} salt
 */
function hash(paths, wanted, salt) {
  const sum = createHash('sha256').update(salt);
  const add = (/** @type {string} */ path) => {
    const full = join(root, path);
    if (statSync(full).isDirectory()) {
      for (const name of readdirSync(full).sort()) add(`${path}/${name}`);
    } else if (wanted.test(path) && existsSync(full)) {
      sum.update(`\0${path}\0`).update(readFileSync(full));
    }
  };
  for (const path of paths) if (existsSync(join(root, path))) add(path);
  return sum.digest('hex');
}

/**
 * @param {Parameters<typeof tool>[0]} name
 * @param {string[]} args
 */
function run(name, args) {
  const { status } = spawnSync(process.execPath, [tool(name), ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) process.exit(status ?? 1);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await build({ release: process.argv.includes('--release'), faceOnly: process.argv.includes('--face') });
}
