/** The TypeScript face, bundled: one file costs a fraction of what 63 cost to find, read and compile in every process that loads them. */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { root } from './root.mjs';

/**
 * Writes dist/face.js, and dist/index.js beside it; whatever else is in dist/ but the addon goes.
 * @param {{ sourceMap?: boolean }} [options] sourceMap: with dist/face.js.map, for measuring coverage
 */
export async function bundleFace({ sourceMap = false } = {}) {
  const dist = join(root, 'dist');
  mkdirSync(dist, { recursive: true });
  for (const name of readdirSync(dist)) if (!/\.(node|d\.ts)$/.test(name)) rmSync(join(dist, name), { recursive: true });
  const bundle = await rolldown({
    input: join(root, 'src/js/index.ts'),
    platform: 'node',
    tsconfig: join(root, 'tsconfig.json'),
    // What is found when it runs: Node's own, the binary's package, and the manifest, beside dist/ as it is beside src/.
    external: [/^node:/, /^redis-backplane-/, '../package.json'],
    onLog: (_, { message }) => {
      throw new Error(`rolldown: ${message}`);
    },
  });
  await bundle.write({
    file: join(dist, 'face.js'),
    format: 'cjs',
    exports: 'named',
    esModule: true,
    generatedCode: { symbols: false },
    strict: true,
    keepNames: true,
    sourcemap: sourceMap ? 'hidden' : false,
    comments: false,
  });
  await bundle.close();
  copyFileSync(join(root, 'src/js/entry.js'), join(dist, 'index.js'));
}
