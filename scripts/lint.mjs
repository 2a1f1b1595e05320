/**
 * Runs every check that needs no test run. A failure does not stop the other checks; the last lines name the failed checks.
 *
 *   node scripts/lint.mjs [--only=biome,clippy,…]
 */
import { spawnSync } from 'node:child_process';
import { ensureCompilers } from './ensure.mjs';
import { root, tool } from './root.mjs';

const node = process.execPath;
/** @type {[name: string, program: string, args: string[], advice: string][]} */
const checks = [
  ['biome', node, [tool('biome'), 'ci', '.'], 'run `npm run format`; what is left it explains itself'],
  ['tests-types', node, [tool('tsc'), '-p', '__test__'], 'the tests and scripts are type-checked too'],
  ['types', 'npm', ['run', '--silent', 'check:types'], 'index.d.ts is stale: run `npm run build:types` and commit it'],
  ['architecture', node, ['scripts/check-architecture.mjs'], 'see ARCHITECTURE.md'],
  ['sizes', node, ['scripts/check-sizes.mjs'], 'what stays large is named there with the reason'],
  ['words', node, ['scripts/check-words.mjs'], 'each line says which word to write instead'],
  ['workflows', node, ['scripts/check-workflows.mjs'], 'https://github.com/rhysd/actionlint explains its checks'],
  ['licenses', node, ['scripts/licenses.mjs'], 'deny.toml says what is allowed; `npm run build:notices` writes the notices anew'],
  ['rustfmt', 'cargo', ['fmt', '--check'], 'run `cargo fmt`'],
  [
    'clippy-core',
    'cargo',
    clippy('--no-default-features', '--all-targets'),
    'warnings are errors; exceptions are `#[expect(…, reason = "…")]`',
  ],
  ['clippy-node', 'cargo', clippy('--lib'), 'warnings are errors; exceptions are `#[expect(…, reason = "…")]`'],
];

ensureCompilers();
const only = process.argv
  .find((arg) => arg.startsWith('--only='))
  ?.slice('--only='.length)
  .split(',');
/** @type {string[]} */
const failed = [];
for (const [name, program, args, advice] of checks) {
  if (only && !only.includes(name)) continue;
  const started = performance.now();
  const { status } = spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], shell: process.platform === 'win32' });
  console.log(`lint ${name}: ${status === 0 ? 'ok' : 'FAILED'}, ${((performance.now() - started) / 1_000).toFixed(1)} s`);
  if (status !== 0) failed.push(`${name}: ${advice}`);
}
if (failed.length > 0) {
  console.error(`\nlint failed:\n${failed.map((line) => `- ${line}`).join('\n')}`);
  process.exitCode = 1;
}

/** @param {string[]} args */
function clippy(...args) {
  return ['clippy', '--locked', '--quiet', ...args, '--', '-D', 'warnings'];
}
