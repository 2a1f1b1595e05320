/**
 * Runs all tests: of the Rust core, of the package through its public entry, of the packed tarball in other projects, and some fuzzing.
 *
 *   node scripts/test.mjs [--only=cargo,vitest,consumers,fuzz] [--coverage]
 *
 * Builds the stale parts first. With --coverage the first two parts count the executed lines, and three more checks compare the counts with the bounds
 * (see coverage.mjs). The last line is `N passed, N failed`, summed over all parts.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { runConsumers } from './consumers.mjs';
import { forget, measure, report } from './coverage.mjs';
import { ensure, ensureCompilers } from './ensure.mjs';
import { fuzz } from './fuzz.mjs';
import { root, tool } from './root.mjs';

/** @typedef {{ passed: number, failed: number }} Count */

/** @type {[name: string, run: () => Count | Promise<Count>][]} */
const suites = [
  ['cargo', cargo],
  ['vitest', vitest],
  ...(process.argv.includes('--coverage') ? /** @type {[string, typeof covered][]} */ ([['coverage', covered]]) : []),
  ['consumers', () => runConsumers()],
  ['fuzz', () => fuzz(hostTarget())],
];
const only = process.argv
  .find((arg) => arg.startsWith('--only='))
  ?.slice('--only='.length)
  .split(',');

ensure('redis-server', 'the tests start their own servers');
ensure('openssl', 'TLS tests make their certificates with it');
ensureCompilers();
if (process.argv.includes('--coverage')) {
  forget();
  await measure();
} else {
  await build();
}

const total = { passed: 0, failed: 0 };
for (const [name, run] of suites) {
  if (only && !only.includes(name)) continue;
  const started = performance.now();
  const { passed, failed } = await run();
  console.log(`${name}: ${passed} passed, ${failed} failed, ${((performance.now() - started) / 1_000).toFixed(1)} s`);
  total.passed += passed;
  total.failed += failed;
}
process.exitCode = total.failed > 0 ? 1 : 0;
console.log(`${total.passed} passed, ${total.failed} failed`);

/** The target of the addon's build. cargo gets it explicitly, so that both builds share their dependencies. */
function hostTarget() {
  const { stdout } = spawnSync('rustc', ['-vV'], { encoding: 'utf8' });
  const [, host] = /^host: (.+)$/m.exec(stdout) ?? [];
  if (!host) throw new Error('rustc -vV names no host');
  return host;
}

/** @returns {Count} */
function cargo() {
  const { status, stdout } = spawnSync('cargo', ['test', '--target', hostTarget(), '--no-default-features', '--no-fail-fast', '--locked'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 28,
  });
  process.stdout.write(stdout);
  const results = [...stdout.matchAll(/^test result: .*? (\d+) passed; (\d+) failed;/gm)];
  return count(
    status,
    results.reduce((sum, [, passed]) => sum + Number(passed), 0),
    results.reduce((sum, [, , failed]) => sum + Number(failed), 0),
  );
}

/** @returns {Count} */
function vitest() {
  const report = join(root, 'target/vitest.json');
  mkdirSync(join(root, 'target'), { recursive: true });
  rmSync(report, { force: true });
  const { status } = spawnSync(
    process.execPath,
    [tool('vitest'), 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  if (!existsSync(report)) return count(status ?? 1, 0, 0);
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8'));
  return count(status, numPassedTests, numFailedTests);
}

/** Prints the coverage, and builds the addon without counters again, for the consumer tests. */
async function covered() {
  const count = await report();
  await build();
  return count;
}

/**
 * A run that failed without a failed test (it did not compile, a file could not be loaded) counts as one failure.
 * @param {number | null} status
 * @param {number} passed
 * @param {number} failed
 * @returns {Count}
 */
function count(status, passed, failed) {
  return { passed, failed: status !== 0 && failed === 0 ? 1 : failed };
}
