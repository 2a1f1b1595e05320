/** The TypeScript face, bundled: every process finds, reads and compiles one file faster than the many files of `src/js`. And the subpaths that import it. */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { root } from './root.mjs';
import { subpaths } from './subpaths.mjs';

/**
 * Writes dist/face.js, dist/index.js beside it and the subpaths; whatever else is in dist/ but the addon goes.
 * @param {{ sourceMap?: boolean }} [options] sourceMap: with dist/face.js.map, for measuring coverage
 */
export async function bundleFace({ sourceMap = false } = {}) {
  const dist = join(root, 'dist');
  mkdirSync(dist, { recursive: true });
  for (const name of readdirSync(dist)) if (!/\.(node|d\.ts)$/.test(name)) rmSync(join(dist, name), { recursive: true });
  // What is found when it runs: Node's own, the binary's package, and the manifest, beside dist/ as it is beside src/.
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
