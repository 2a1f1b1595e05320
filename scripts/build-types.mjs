/**
 * Writes `index.d.ts` at the root, and the declarations of the subpaths in `types/`, from the declarations that tsc emits to target/types.
 *
 * Editors show this file on hover, so it keeps every doc comment and puts `export` before each declaration. `index.d.ts` may import from `node:`
 * only: users would have to install any other package.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { root, tool } from './root.mjs';
import { subpaths } from './subpaths.mjs';

const [entry, output] = process.argv.slice(2);

if (entry && output) {
  await write(entry, [output], []);
} else {
  execFileSync(process.execPath, [tool('tsc'), '-p', 'tsconfig.json', '--emitDeclarationOnly'], { cwd: root, stdio: 'inherit' });
  await write(join(root, 'target/types/index.d.ts'), [join(root, 'index.d.ts')], []);
  mkdirSync(join(root, 'types'), { recursive: true });
  for (const { name, peers } of subpaths) {
    // The same text for both files: TypeScript reads it as CommonJS or as an ES module by the name of the file.
    const files = ['d.ts', 'd.mts'].map((ending) => join(root, 'types', `${name}.${ending}`));
    await write(join(root, `target/types/${name}/index.d.ts`), files, ['redis-backplane', ...peers]);
  }
}

/**
 * @param {string} input
 * @param {string[]} files
 * @param {string[]} external what it may import from beside `node:`
 */
async function write(input, files, external) {
  const bundle = await rollup({
    input,
    plugins: [dts()],
    external: [/^node:/, ...external],
    onwarn: (warning) => {
      // Every warning is a failure.
      throw new Error(`rollup: ${warning.message}`);
    },
  });
  const {
    output: [chunk],
  } = await bundle.generate({ format: 'es' });
  await bundle.close();

  const foreign = [...chunk.imports, ...chunk.dynamicImports].filter((name) => !name.startsWith('node:') && !external.includes(name));
  if (foreign.length > 0)
    throw new Error(`${files.join(', ')} may import from ${['node:', ...external].join(', ')} only, not from ${foreign.join(', ')}`);
  const text = `/// <reference types="node" />\n${exportInPlace(withoutHeaders(chunk.code.replace(/^\/\/\/ <reference.*\n/gm, '')))}`;
  for (const file of files) writeFileSync(file, text);
  execFileSync(process.execPath, [tool('biome'), 'format', '--write', ...files], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
}

/**
 * Removes the header comments of modules. In the one file they would come before the doc comment of the module's first declaration.
 * @param {string} code
 */
function withoutHeaders(code) {
  return code.replace(/^\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n+(?=\/\*\*)/gm, '');
}

/**
 * Puts `export` before each declaration that the closing `export { … }` lists name.
 * @param {string} code
 */
function exportInPlace(code) {
  const list = /^export (?:type )?\{([^}]*)\};\n?/gm;
  const names = [...code.matchAll(list)].flatMap(([, items]) => (items ?? '').split(',').map((item) => item.trim().replace(/^type /, '')));
  let text = code.replace(list, '').trimEnd();
  const renamed = [];
  for (const name of names.filter(Boolean)) {
    const kinds = 'declare (?:abstract )?(?:class|function|const|let|enum|namespace)|interface|type';
    const exported = text.replace(new RegExp(`^(?=(?:${kinds}) ${name.replaceAll('$', '\\$')}\\b)`, 'gm'), 'export ');
    // `a as b` has no declaration under its public name.
    if (exported === text) renamed.push(name);
    text = exported;
  }
  // Without an export list a file of declarations exports everything in it.
  return `${text}\n\nexport {${renamed.length > 0 ? ` ${renamed.join(', ')} ` : ''}};\n`;
}
