/**
 * Writes the one `index.d.ts` at the root from the declarations tsc emits to target/types.
 *
 * Users read this file on hover, so it keeps every doc comment and says `export` where a thing is
 * declared. It may import from `node:` only: anything else would have to be installed by the user.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';
import { root, tool } from './root.mjs';

const entry = process.argv[2] ?? join(root, 'target/types/index.d.ts');
const output = process.argv[3] ?? join(root, 'index.d.ts');

if (!process.argv[2])
  execFileSync(process.execPath, [tool('tsc'), '-p', 'tsconfig.json', '--emitDeclarationOnly'], { cwd: root, stdio: 'inherit' });

const bundle = await rollup({
  input: entry,
  plugins: [dts()],
  external: /^node:/,
  onwarn: (warning) => {
    // Node's own types refer to each other in circles; everything else deserves a look.
    throw new Error(`rollup: ${warning.message}`);
  },
});
const {
  output: [chunk],
} = await bundle.generate({ format: 'es' });
await bundle.close();

const foreign = [...chunk.imports, ...chunk.dynamicImports].filter((name) => !name.startsWith('node:'));
if (foreign.length > 0) throw new Error(`index.d.ts may import from node: only, not from ${foreign.join(', ')}`);

const code = withoutHeaders(chunk.code.replace(/^\/\/\/ <reference.*\n/gm, ''));
writeFileSync(output, `/// <reference types="node" />\n${exportInPlace(code)}`);

execFileSync(process.execPath, [tool('biome'), 'format', '--write', output], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });

/**
 * Leaves out the comment that heads a module: here it would come before the doc comment of the module's first declaration.
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
