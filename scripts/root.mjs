import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/**
 * The folders and commands of the installed development tools. @type {Record<'tsc' | 'napi' | 'vitest' | 'biome', [folder: string, command: string]>}
 */
const tools = {
  tsc: ['typescript', 'tsc'],
  napi: ['@napi-rs/cli', 'napi'],
  vitest: ['vitest', 'vitest'],
  biome: ['@biomejs/biome', 'biome'],
};

/**
 * The script of a command in node_modules, which is run with this Node, independent of PATH.
 * @param {keyof typeof tools} name
 */
export function tool(name) {
  const [folder, command] = tools[name];
  const home = join(root, 'node_modules', folder);
  const { bin } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
  return join(home, typeof bin === 'string' ? bin : bin[command]);
}
