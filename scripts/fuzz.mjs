/**
 * Coverage-guided fuzzing (libFuzzer) of what reads bytes from outside: `reader`, the replies of a server; `client`, what
 * is read out of them (HELLO, slot maps, redirects, jobs) and URLs; `engine`, the commands sent to `memory://`. Lua is built
 * with AddressSanitizer, where the C compiler has it.
 *
 *   node scripts/fuzz.mjs [reader|client|engine …]
 *
 * FUZZ_SECONDS: how long each target runs (default: 120 in CI, else 10), two beside each other. Starts from fuzz/seeds and what earlier runs
 * found (target/fuzz/corpus). An input that fails is printed as hex: put it into fuzz/seeds, where every run tries it first.
 */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureCompilers } from './ensure.mjs';
import { root } from './root.mjs';

const TARGETS = ['engine', 'reader', 'client'];
/** Targets that share the time of one: each of them is quick. */
const QUICK = ['reader', 'client'];

/** What libFuzzer needs of the code it watches. Stable compilers take it too; only sanitizers would need a nightly one. */
const RUSTFLAGS = [
  '-Cpasses=sancov-module',
  '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters',
  '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares',
  '-Ccodegen-units=1',
  '--cfg=fuzzing',
].join(' ');

/** What a C compiler is told to find accesses outside of what was allocated, or after it was freed. */
const SANITIZE = '-fsanitize=address';

/** What else a target is told: the engine has words of its own, and may take a script's whole time for one input. @type {Record<string, string[]>} */
const OPTIONS = {
  reader: ['-max_len=4096', '-timeout=5'],
  client: ['-max_len=4096', '-timeout=5'],
  engine: ['-max_len=4096', '-timeout=20', '-rss_limit_mb=4096', `-dict=${join(root, 'fuzz/engine.dict')}`],
};

/**
 * Fuzzes the targets beside each other, for some seconds; a target passes that finds nothing.
 * @param {string} host the compiler's target
 * @param {string[]} [targets]
 * @returns {Promise<{ passed: number, failed: number }>}
 */
export async function fuzz(host, targets = TARGETS) {
  const seconds = Number(process.env.FUZZ_SECONDS ?? (process.env.CI ? 120 : 10));
  ensureCompilers();
  const runtime = sanitizer();
  const built = spawnSync(
    'cargo',
    ['build', '--manifest-path', join(root, 'fuzz/Cargo.toml'), '--target', host, '--target-dir', join(root, 'target/fuzz'), '--locked'],
    // A cold build must not share its flags, nor its folder, with the tests' builds.
    { stdio: 'inherit', env: { ...process.env, ...flags(host, runtime), CARGO_ENCODED_RUSTFLAGS: undefined } },
  );
  if (built.status !== 0) return { passed: 0, failed: targets.length };
  const quick = targets.filter((target) => QUICK.includes(target));
  const lanes = [targets.filter((target) => !QUICK.includes(target)), quick];
  const passes = await Promise.all(
    lanes.map(async (lane) => {
      const passed = [];
      for (const target of lane) passed.push(await runs(host, target, seconds / lane.length, runtime));
      return passed;
    }),
  );
  const failed = passes.flat().filter((passed) => !passed).length;
  return { passed: targets.length - failed, failed };
}

/**
 * The runtime of AddressSanitizer for C, if the C compiler has one: a shared library, which must be the first that is
 * loaded.
 */
function sanitizer() {
  const probe = spawnSync('cc', [SANITIZE, '-x', 'c', '-', '-o', '/dev/null'], { input: 'int main(void) { return 0; }' });
  const found = spawnSync('cc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout?.trim() ?? '';
  return probe.status === 0 && existsSync(found) ? found : undefined;
}

/**
 * The compilers' flags, which decide what is built again.
 * @param {string} host
 * @param {string | undefined} runtime
 */
function flags(host, runtime) {
  if (runtime === undefined) {
    console.log(`fuzz: the C compiler has no ${SANITIZE}: Lua is only watched by its own assertions`);
    return { RUSTFLAGS };
  }
  return {
    RUSTFLAGS: `${RUSTFLAGS} -Clink-arg=${runtime}`,
    [`CFLAGS_${host.replaceAll('-', '_')}`]: `${SANITIZE} -fno-omit-frame-pointer -g1`,
  };
}

/**
 * @param {string} host
 * @param {string} target
 * @param {number} seconds
 * @param {string | undefined} runtime
 */
async function runs(host, target, seconds, runtime) {
  const corpus = join(root, 'target/fuzz/corpus', target);
  const findings = join(root, 'target/fuzz/findings', target);
  for (const folder of [corpus, findings]) mkdirSync(folder, { recursive: true });
  for (const old of readdirSync(findings)) rmSync(join(findings, old));
  const program = join(root, 'target/fuzz', host, 'debug', target);
  const args = [
    `-max_total_time=${Math.ceil(seconds)}`,
    `-artifact_prefix=${findings}/`,
    '-print_final_stats=1',
    ...(OPTIONS[target] ?? []),
    corpus,
    join(root, 'fuzz/seeds', target),
  ];
  const { failure, stderr } = await /** @type {Promise<{ failure: Error | null, stderr: string }>} */ (
    new Promise((resolve) => {
      // What was freed is kept for a while to find late uses of it: little, since the engine frees much.
      const watched = { LD_PRELOAD: runtime, ASAN_OPTIONS: 'detect_leaks=0:quarantine_size_mb=32' };
      const env = { ...process.env, ...(runtime === undefined ? {} : watched) };
      const limits = { env, maxBuffer: 1 << 28, timeout: (seconds + 120) * 1_000 };
      execFile(program, args, limits, (failure, _, stderr) => resolve({ failure, stderr }));
    })
  );
  const [, count = '?'] = /stat::number_of_executed_units: (\d+)/.exec(stderr) ?? [];
  if (failure === null) {
    console.log(`fuzz ${target}: ${count} inputs in ${seconds} s, nothing found`);
    return true;
  }
  console.log(`fuzz ${target}: ${failure.message.split('\n', 1)}\n${stderr.split('\n').slice(-60).join('\n')}`);
  for (const name of readdirSync(findings)) {
    console.log(`fuzz ${target}: ${name}, as hex:\n${readFileSync(join(findings, name)).toString('hex')}`);
  }
  return false;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { stdout } = spawnSync('rustc', ['-vV'], { encoding: 'utf8' });
  const [, host = ''] = /^host: (.+)$/m.exec(stdout) ?? [];
  const chosen = process.argv.slice(2);
  const { failed } = await fuzz(host, chosen.length > 0 ? chosen : TARGETS);
  process.exitCode = failed > 0 ? 1 : 0;
}
