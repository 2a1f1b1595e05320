/**
 * Coverage-guided fuzzing (libFuzzer) of the code that reads bytes from outside, by the targets in fuzz/src: replies of servers, stored records of
 * any program, options and URLs, and commands sent to `memory://`. Lua is built with AddressSanitizer if the C compiler has it.
 *
 *   node scripts/fuzz.mjs [target …]
 *
 * FUZZ_SECONDS: how long each target runs, two beside each other. Default: in CI `engine` for 60 s and beside it the others, which share
 * as much; elsewhere 10 s. Starts from fuzz/seeds and what earlier runs found (target/fuzz/corpus). An input that fails is printed as
 * hex: put it into fuzz/seeds, where every run tries it first.
 */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureCompilers } from './ensure.mjs';
import { root } from './root.mjs';

/** The targets. The first has the most code to cover. */
const TARGETS = [
  'engine',
  'reader',
  'handshake',
  'sentinel',
  'cluster',
  'bus',
  'jobs',
  'schedules',
  'registry',
  'urls',
  'options',
  'calls',
];

/** The compiler flags that libFuzzer needs. A stable compiler accepts them; only sanitizers would need a nightly compiler. */
const RUSTFLAGS = [
  '-Cpasses=sancov-module',
  '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters',
  '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares',
  '-Ccodegen-units=1',
  '--cfg=fuzzing',
].join(' ');

/** The C compiler's flags for AddressSanitizer, which finds accesses to memory that is not allocated or was freed. */
const SANITIZE = '-fsanitize=address';

/** The dictionaries of targets, in fuzz/dict. @type {Record<string, string>} */
const WORDS = {
  engine: 'engine',
  handshake: 'servers',
  sentinel: 'servers',
  cluster: 'servers',
  bus: 'servers',
  jobs: 'records',
  schedules: 'records',
  registry: 'records',
  urls: 'options',
  options: 'options',
  calls: 'options',
};

/** Limits of libFuzzer: a script may use its whole time limit for one input, and the data of many engines may wait to be freed. */
const LIMITS = { engine: ['-timeout=20', '-rss_limit_mb=4096'], others: ['-timeout=10'] };

/**
 * Fuzzes the targets, two at a time. A target passes if it finds no failure.
 * @param {string} host the compiler's target
 * @param {string[]} [targets]
 * @returns {Promise<{ passed: number, failed: number }>}
 */
export async function fuzz(host, targets = TARGETS) {
  ensureCompilers();
  const runtime = sanitizer();
  const bins = targets.flatMap((target) => ['--bin', target]);
  const built = spawnSync(
    'cargo',
    [
      'build',
      '--manifest-path',
      join(root, 'fuzz/Cargo.toml'),
      '--target',
      host,
      '--target-dir',
      join(root, 'target/fuzz'),
      '--locked',
      ...bins,
    ],
    // Built in its own folder, because its flags differ from those of the tests' builds.
    { stdio: 'inherit', env: { ...process.env, ...flags(host, runtime), CARGO_ENCODED_RUSTFLAGS: undefined } },
  );
  if (built.status !== 0) return { passed: 0, failed: targets.length };
  const left = [...targets];
  let passed = 0;
  const lane = async () => {
    for (let target = left.shift(); target !== undefined; target = left.shift()) {
      if (await runs(host, target, secondsFor(target), runtime)) passed += 1;
    }
  };
  await Promise.all([lane(), lane()]);
  return { passed, failed: targets.length - passed };
}

/** @param {string} target */
function secondsFor(target) {
  if (process.env.FUZZ_SECONDS) return Number(process.env.FUZZ_SECONDS);
  const seconds = process.env.CI ? 60 : 10;
  return target === 'engine' ? seconds : Math.ceil(seconds / (TARGETS.length - 1));
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
    `-max_total_time=${seconds}`,
    '-max_len=4096',
    `-artifact_prefix=${findings}/`,
    '-print_final_stats=1',
    ...(target === 'engine' ? LIMITS.engine : LIMITS.others),
    ...(WORDS[target] ? [`-dict=${join(root, 'fuzz/dict', `${WORDS[target]}.dict`)}`] : []),
    corpus,
    join(root, 'fuzz/seeds', target),
  ];
  const { failure, stderr } = await /** @type {Promise<{ failure: Error | null, stderr: string }>} */ (
    new Promise((resolve) => {
      // AddressSanitizer keeps freed memory for a while, to find late uses. The bound is small, since the engine frees much memory.
      const watched = { LD_PRELOAD: runtime, ASAN_OPTIONS: 'detect_leaks=0:quarantine_size_mb=32' };
      const env = { ...process.env, ...(runtime === undefined ? {} : watched) };
      const limits = { env, maxBuffer: 1 << 28, timeout: (seconds + 120) * 1_000 };
      execFile(program, args, limits, (failure, _, stderr) => resolve({ failure, stderr }));
    })
  );
  const [, count = '?'] = /stat::number_of_executed_units: (\d+)/.exec(stderr) ?? [];
  const [, covered = '?'] = [...stderr.matchAll(/ cov: (\d+)/g)].at(-1) ?? [];
  if (failure === null) {
    console.log(`fuzz ${target}: ${count} inputs in ${seconds} s, ${covered} edges covered, nothing found`);
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
