/** Bundles the TypeScript face, because one file loads faster than the many files of `src/js`; and the subpaths that import the package. */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { root } from './root.mjs';
import { subpaths } from './subpaths.mjs';

/**
 * Writes dist/face.js, dist/index.js and the subpaths. All other files in dist/ except the addon are deleted.
 * @param {{ sourceMap?: boolean }} [options] sourceMap: with dist/face.js.map, for measuring coverage
 */
export async function bundleFace({ sourceMap = false } = {}) {
  const dist = join(root, 'dist');
  mkdirSync(dist, { recursive: true });
  for (const name of readdirSync(dist)) if (!/\.(node|d\.ts)$/.test(name)) rmSync(join(dist, name), { recursive: true });
  // Not bundled: Node's own modules, the packages of the binaries, and package.json, whose path from dist/ is the same as from src/.
  await bundle('src/js/index.ts', [/^node:/, /^redis-backplane-/, '../package.json'], { 'face.js': 'cjs' }, sourceMap);
  copyFileSync(join(root, 'src/js/entry.js'), join(dist, 'index.js'));
  for (const { name, peers } of subpaths) {
    const files = /** @type {const} */ ({ [`${name}.js`]: 'cjs', [`${name}.mjs`]: 'esm' });
    await bundle(`src/js/${name}/index.ts`, [/^node:/, 'redis-backplane', ...peers], files, sourceMap);
  }
}

/**
 * @param {string} input
 * @param {(string | RegExp)[]} external
 * @param {Record<string, 'cjs' | 'esm'>} files what is written into dist/, in which format
 * @param {boolean} sourceMap
 */
async function bundle(input, external, files, sourceMap) {
  const made = await rolldown({
    input: join(root, input),
    platform: 'node',
    tsconfig: join(root, 'tsconfig.json'),
    external,
    onLog: (_, { message }) => {
      throw new Error(`rolldown: ${message}`);
    },
  });
  for (const [file, format] of Object.entries(files)) {
    await made.write({
      file: join(root, 'dist', file),
      format,
      exports: 'named',
      esModule: true,
      generatedCode: { symbols: false },
      strict: true,
      keepNames: true,
      sourcemap: sourceMap ? 'hidden' : false,
      comments: false,
    });
  }
  await made.close();
}
