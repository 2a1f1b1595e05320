/**
 * Makes the tarballs a user gets: the main package, and this platform's binary package.
 *
 *   node scripts/pack.mjs [folder] [--publish]
 *
 * With --publish the main package names every platform package as an optional dependency, as on the registry.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { NOTICES } from './licenses.mjs';
import { root } from './root.mjs';

/**
 * @param {string} folder where the tarballs go
 * @param {{ publish?: boolean }} [options]
 * @returns {{ main: string, binary: string }} their paths
 */
export function pack(folder, { publish = false } = {}) {
  const binaryFile = readdirSync(join(root, 'dist')).find((name) => name.endsWith('.node'));
  if (!binaryFile) throw new Error('dist/ holds no .node file: run `npm run build` first');
  const platform = binaryFile.split('.')[1] ?? '';
  const staging = mkdtempSync(join(tmpdir(), 'pack-'));
  try {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const main = join(staging, 'main');
    mkdirSync(main);
    for (const name of ['dist', 'index.d.ts', 'README.md', 'CHANGELOG.md', 'LICENSE', NOTICES]) {
      if (existsSync(join(root, name))) cpSync(join(root, name), join(main, name), { recursive: true });
    }
    if (publish) {
      const names = readdirSync(join(root, 'npm')).map((name) => `${manifest.name}-${name}`);
      manifest.optionalDependencies = Object.fromEntries(names.map((name) => [name, manifest.version]));
    }
    // Nothing of the repository's own tools reaches a user.
    const { devDependencies: _, scripts: __, ...published } = manifest;
    writeFileSync(join(main, 'package.json'), JSON.stringify(published, null, 2));

    const binary = join(staging, 'binary');
    cpSync(join(root, 'npm', platform), binary, { recursive: true });
    copyFileSync(join(root, 'dist', binaryFile), join(binary, binaryFile));
    for (const name of ['LICENSE', NOTICES]) copyFileSync(join(root, name), join(binary, name));
    mkdirSync(folder, { recursive: true });
    return { main: tarball(main, folder), binary: tarball(binary, folder) };
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/**
 * @param {string} from
 * @param {string} to
 */
function tarball(from, to) {
  const printed = execFileSync('npm', ['pack', '--json', '--pack-destination', to], {
    cwd: from,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    shell: process.platform === 'win32',
  });
  /** npm 12 gives an object by package name, earlier versions an array. */
  const [packed] = /** @type {{ filename: string }[]} */ (Object.values(JSON.parse(printed)));
  if (!packed) throw new Error(`npm pack made nothing of ${from}`);
  return join(to, packed.filename);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [folder] = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
  console.log(pack(resolve(folder ?? mkdtempSync(join(tmpdir(), 'redis-backplane-'))), { publish: process.argv.includes('--publish') }));
}
