/**
 * Measures which lines the tests execute: lines of the Rust core, under cargo and inside the addon under Vitest, and lines of the TypeScript face,
 * in Vitest's processes and their child processes.
 *
 *   npm run coverage                            all tests, then the table by folder, compared with the bounds in LEAST
 *   node scripts/coverage.mjs [command …]       adds what a command executes to the last measurement, and shows the table
 *
 * coverage/lcov.info has every line; coverage/uncovered.txt has the lines that no test executed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { convert } from 'ast-v8-to-istanbul';
import { parseAst } from 'rolldown/parseAst';
import { build } from './build.mjs';
import { ensure } from './ensure.mjs';
import { root } from './root.mjs';

/** @typedef {Map<number, number>} Lines how often each line was executed, by its number from 1 */
/** @typedef {Map<string, Lines>} Files by path from the root */
/** @typedef {{ startOffset: number, endOffset: number, count: number }} Range */

/** The smallest allowed percentage of executed lines. @type {[what: string, least: number, of: (file: string) => boolean][]} */
const LEAST = [
  ['TypeScript', 98, (file) => file.endsWith('.ts')],
  ['Rust outside embedded/', 96, (file) => file.endsWith('.rs') && !file.startsWith('src/embedded/')],
  ['embedded/', 95, (file) => file.startsWith('src/embedded/')],
];

const data = join(root, 'target/coverage');
const rust = join(data, 'rust');
const node = join(data, 'node');

/** Makes every process that is started from now on count its executed lines, and builds the addon with counters. */
export async function measure() {
  llvm('profdata');
  process.env.RUSTC_WORKSPACE_WRAPPER = join(root, 'scripts/instrumented-rustc');
  // %c: the counters are a file mapped into memory, so that the counts of a killed process are kept. %m: one file per binary.
  process.env.LLVM_PROFILE_FILE = join(rust, '%m%c.profraw');
  await build({ coverage: true });
  process.env.NODE_V8_COVERAGE = node;
}

/** Ends the measurement that `measure` started. The next build has no counters. */
function unmeasure() {
  for (const name of ['RUSTC_WORKSPACE_WRAPPER', 'LLVM_PROFILE_FILE', 'NODE_V8_COVERAGE']) delete process.env[name];
}

/** Deletes earlier measurements. */
export function forget() {
  rmSync(data, { recursive: true, force: true });
}

/**
 * Prints the table, and compares it with the bounds.
 * @returns {Promise<{ passed: number, failed: number }>}
 */
export async function report() {
  const objects = [...testBinaries(), ...addons()];
  unmeasure();
  const files = new Map([...rustLines(objects), ...(await typescriptLines())].sort(([a], [b]) => (a < b ? -1 : 1)));
  writeDetails(files);
  const folders = new Set([...files.keys()].map(folderOf));
  for (const folder of [...folders].sort())
    console.log(
      row(
        folder,
        [...files].filter(([file]) => folderOf(file) === folder),
      ),
    );
  let failed = 0;
  for (const [what, least, belongs] of LEAST) {
    const entries = [...files].filter(([file]) => belongs(file));
    const enough = percentage(entries) >= least;
    console.log(`${row(what, entries)}  ${enough ? 'ok' : 'FAILED'}: at least ${least} %`);
    if (!enough) failed += 1;
  }
  return { passed: LEAST.length - failed, failed };
}

/** `src/connection`, `src/js/bus`: one level below the sources of a language. @param {string} file */
function folderOf(file) {
  const [, inside = ''] = /^(src\/js(?:\/[^/]+(?=\/))?|src(?:\/[^/]+(?=\/))?)/.exec(file) ?? [];
  return inside;
}

/** @param {[string, Lines][]} entries */
function counts(entries) {
  const lines = entries.flatMap(([, lines]) => [...lines.values()]);
  return { all: lines.length, covered: lines.filter((count) => count > 0).length };
}

/** @param {[string, Lines][]} entries */
function percentage(entries) {
  const { all, covered } = counts(entries);
  return all === 0 ? 0 : (100 * covered) / all;
}

/** @param {string} name @param {[string, Lines][]} entries */
function row(name, entries) {
  const { all, covered } = counts(entries);
  return `${name.padEnd(24)}${`${covered} of ${all}`.padStart(16)}${percentage(entries).toFixed(1).padStart(8)} %`;
}

/** @param {Files} files */
function writeDetails(files) {
  const folder = join(root, 'coverage');
  mkdirSync(folder, { recursive: true });
  const records = [...files].map(([file, lines]) => {
    const { all, covered } = counts([[file, lines]]);
    return `SF:${file}\n${[...lines].map(([line, count]) => `DA:${line},${count}\n`).join('')}LF:${all}\nLH:${covered}\nend_of_record\n`;
  });
  writeFileSync(join(folder, 'lcov.info'), records.join(''));
  const uncovered = [...files].flatMap(([file, lines]) => {
    const text = readFileSync(join(root, file), 'utf8').split('\n');
    return [...lines].filter(([, count]) => count === 0).map(([line]) => `${file}:${line}: ${text[line - 1]}\n`);
  });
  writeFileSync(join(folder, 'uncovered.txt'), uncovered.join(''));
}

/**
 * A tool of LLVM: of the compiler itself (`rustup component add llvm-tools`), or the system's.
 * @param {'profdata' | 'cov'} name
 */
function llvm(name) {
  const sysroot = spawnSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).stdout.trim();
  const libraries = join(sysroot, 'lib/rustlib');
  const own = readdirSync(libraries).map((target) => join(libraries, target, 'bin', `llvm-${name}`));
  const found = own.find((file) => existsSync(file));
  if (found) return found;
  ensure('llvm-profdata-19', 'what the tests execute is counted with it');
  return `llvm-${name}-19`;
}

/**
 * Runs a program to its end and returns its output.
 * @param {string} program
 * @param {string[]} args
 */
function output(program, args) {
  const { status, stdout, error } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1 << 30,
  });
  if (status !== 0) throw new Error(`${program} failed`, { cause: error });
  return stdout;
}

/** The programs that `cargo test` runs. */
function testBinaries() {
  const [, host = ''] = /^host: (.+)$/m.exec(output('rustc', ['-vV'])) ?? [];
  const options = ['--target', host, '--no-default-features', '--locked', '--no-run', '--message-format=json'];
  /** @type {{ executable?: string | null }[]} */
  const messages = output('cargo', ['test', ...options])
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return messages.flatMap(({ executable }) => executable ?? []);
}

function addons() {
  const folder = join(root, 'dist');
  return readdirSync(folder)
    .filter((name) => name.endsWith('.node'))
    .map((name) => join(folder, name));
}

/** @param {string[]} objects @returns {Files} */
function rustLines(objects) {
  const profiles = readdirSync(rust).map((name) => join(rust, name));
  const merged = join(data, 'merged.profdata');
  output(llvm('profdata'), ['merge', '--sparse', '--failure-mode=all', '-o', merged, ...profiles]);
  const [first = '', ...others] = objects;
  const exported = output(llvm('cov'), [
    'export',
    '--format=lcov',
    `--instr-profile=${merged}`,
    first,
    ...others.flatMap((object) => ['--object', object]),
    '--sources',
    join(root, 'src'),
  ]);
  /** @type {Files} */
  const files = new Map();
  for (const record of exported.split('end_of_record\n')) {
    const [, path] = /^SF:(.*)$/m.exec(record) ?? [];
    if (path === undefined || /(^|\/)tests\.rs$/.test(path)) continue;
    const file = relative(root, path);
    const isTest = linesOfTests(file);
    /** @type {[number, number][]} */
    const lines = [...record.matchAll(/^DA:(\d+),(\d+)/gm)].map(([, line, count]) => [Number(line), Number(count)]);
    files.set(file, new Map(lines.filter(([line]) => !isTest(line))));
  }
  return files;
}

/** Says which lines of a Rust file are in its test modules. @param {string} file @returns {(line: number) => boolean} */
function linesOfTests(file) {
  const text = readFileSync(join(root, file), 'utf8').split('\n');
  /** @type {[from: number, to: number][]} */
  const parts = [];
  for (const [at, line] of text.entries()) {
    const [, indent] = /^(\s*)#\[cfg\(test\)\]/.exec(line) ?? [];
    if (indent === undefined) continue;
    const item = text.findIndex((other, n) => n > at && !other.trimStart().startsWith('#['));
    const end = text[item]?.endsWith(';') ? item : text.indexOf(`${indent}}`, item);
    parts.push([at + 1, end + 1]);
  }
  return (line) => parts.some(([from, to]) => from <= line && line <= to);
}

/** @returns {Promise<Files>} */
async function typescriptLines() {
  const executed = executedCode();
  /** @type {Files} */
  const files = new Map();
  for (const name of readdirSync(join(root, 'dist')).filter((name) => name.endsWith('.js.map'))) {
    const path = join(root, 'dist', name.slice(0, -'.map'.length));
    const code = readFileSync(path, 'utf8');
    const map = JSON.parse(readFileSync(`${path}.map`, 'utf8'));
    const ranges = uncoveredRanges(executed.get(path) ?? new Uint8Array(code.length));
    const functions = [
      { functionName: '', isBlockCoverage: true, ranges: [{ startOffset: 0, endOffset: code.length, count: 1 }, ...ranges] },
    ];
    const url = pathToFileURL(path).href;
    const converted = await convert({ code, ast: parseAst(code), sourceMap: map, coverage: { url, functions } });
    for (const [source, { statementMap, s }] of Object.entries(converted)) {
      /** @type {Lines} */
      const lines = new Map();
      for (const [id, { start }] of Object.entries(statementMap)) lines.set(start.line, Math.max(lines.get(start.line) ?? 0, s[id] ?? 0));
      files.set(relative(root, source), new Map([...lines].sort(([a], [b]) => a - b)));
    }
  }
  return files;
}

/** The executed characters of each script of this package: 1 for a character that any process executed. @returns {Map<string, Uint8Array>} */
function executedCode() {
  /** @type {Map<string, Uint8Array>} */
  const scripts = new Map();
  for (const name of existsSync(node) ? readdirSync(node) : []) {
    /** @type {{ result: { url: string, functions: { ranges: Range[] }[] }[] }} */
    const { result } = JSON.parse(readFileSync(join(node, name), 'utf8'));
    for (const { url, functions } of result) {
      const path = scriptOfOurs(url);
      if (path === undefined) continue;
      const executed = scripts.get(path) ?? new Uint8Array(readFileSync(path, 'utf8').length);
      scripts.set(path, executed);
      const counted = new Uint8Array(executed.length);
      // The count of a character is that of the innermost range that contains it.
      const ranges = functions.flatMap(({ ranges }) => ranges).sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset);
      for (const { startOffset, endOffset, count } of ranges) counted.fill(count > 0 ? 1 : 0, startOffset, endOffset);
      for (const [at, count] of counted.entries()) if (count > 0) executed[at] = 1;
    }
  }
  return scripts;
}

/** The script in dist/ for a loaded URL, which may also be a copy in a project of a consumer test. @param {string} url */
function scriptOfOurs(url) {
  if (url.startsWith(pathToFileURL(join(root, 'dist/')).href)) return fileURLToPath(url);
  const [, inPackage] = /\/node_modules\/redis-backplane\/(dist\/[^/]+\.js)$/.exec(url) ?? [];
  return inPackage && join(root, inPackage);
}

/** @param {Uint8Array} executed @returns {Range[]} */
function uncoveredRanges(executed) {
  /** @type {Range[]} */
  const ranges = [];
  for (let at = executed.indexOf(0); at >= 0; ) {
    const end = executed.indexOf(1, at);
    ranges.push({ startOffset: at, endOffset: end < 0 ? executed.length : end, count: 0 });
    at = end < 0 ? -1 : executed.indexOf(0, end);
  }
  return ranges;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [program, ...args] = process.argv.slice(2);
  await measure();
  let status = 0;
  if (program) status = spawnSync(program, args, { cwd: root, stdio: 'inherit' }).status ?? 1;
  const { failed } = await report();
  process.exitCode = status || (failed > 0 ? 1 : 0);
}
