/**
 * Checks the crates that are linked into the binaries: their licences and sources must be allowed (`deny.toml`), and the notices that the licences
 * demand must be in `THIRD-PARTY-NOTICES.md`, which each package carries.
 *
 *   node scripts/licenses.mjs [--write]
 *
 * Without --write nothing is written, and a stale file of notices is a failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './root.mjs';

/** The file of notices, beside LICENSE in every package. */
export const NOTICES = 'THIRD-PARTY-NOTICES.md';

/**
 * @typedef {{ id: string, name: string, version: string, license: string | null, source: string | null, authors: string[],
 *   manifest_path: string, targets: { kind: string[] }[] }} Crate
 * @typedef {{ id: string, deps: { pkg: string, dep_kinds: { kind: string | null }[] }[] }} Node
 * @typedef {{ packages: Crate[], resolve: { root: string, nodes: Node[] } }} Metadata
 * @typedef {{ title: string, license: string, texts: string[] }} Notice
 */

/** The preferred licences, in order, for a crate that offers a choice. */
const PREFERRED = [/mit/i, /isc/i, /boost|bsl/i];
const LICENSE_FILE = /^(licen[sc]es?|copying|unlicense)([-._].*)?$/i;
const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"),
to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense,
and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN
THE SOFTWARE.`;

/**
 * @param {Metadata} metadata
 * @param {{ allow: string[], registries: string[] }} rules
 * @returns {string[]} what is not allowed
 */
export function refused({ packages }, { allow, registries }) {
  const failures = [];
  for (const { name, version, license, source } of packages) {
    if (source !== null && !registries.some((registry) => source === `registry+${registry}`)) {
      failures.push(`${name} ${version} comes from ${source}: deny.toml allows ${registries.join(', ')}`);
    }
    if (license === null || !isAllowed(license, allow)) {
      failures.push(`${name} ${version} has the licence ${license ?? '(none)'}: deny.toml allows ${allow.join(', ')}`);
    }
  }
  return failures;
}

/**
 * Does an SPDX expression leave a choice of allowed licences?
 * @param {string} expression
 * @param {string[]} allow
 */
export function isAllowed(expression, allow) {
  const words = expression.replaceAll('/', ' OR ').match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const one = () => {
    if (words[at] === '(') {
      at++;
      const inner = either();
      at++;
      return inner;
    }
    let license = words[at++] ?? '';
    if (words[at] === 'WITH') {
      license = `${license} WITH ${words[at + 1]}`;
      at += 2;
    }
    return allow.includes(license);
  };
  const both = () => {
    let is = one();
    while (words[at] === 'AND') {
      at++;
      is = one() && is;
    }
    return is;
  };
  /** @returns {boolean} */
  const either = () => {
    let is = both();
    while (words[at] === 'OR') {
      at++;
      is = both() || is;
    }
    return is;
  };
  return either() && at === words.length;
}

/**
 * The crates whose code is in a binary: not what runs while it is built.
 * @param {Metadata} metadata
 */
export function linked({ packages, resolve }) {
  const crates = new Map(packages.map((crate) => [crate.id, crate]));
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  /** @type {Map<string, Crate>} */
  const found = new Map();
  const open = [resolve.root];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const crate = crates.get(id);
    const isMacro = crate?.targets.some(({ kind }) => kind.includes('proc-macro'));
    if (!crate || isMacro || found.has(id)) continue;
    found.set(id, crate);
    for (const { pkg, dep_kinds } of nodes.get(id)?.deps ?? []) {
      if (dep_kinds.some(({ kind }) => kind === null)) open.push(pkg);
    }
  }
  found.delete(resolve.root);
  return [...found.values()];
}

/** @param {Crate} crate @returns {Notice} */
function noticeOf(crate) {
  const { name, version, license, authors } = crate;
  const folder = dirname(crate.manifest_path);
  const files = readdirSync(folder)
    .filter((file) => LICENSE_FILE.test(file))
    .flatMap((file) =>
      statSync(join(folder, file)).isDirectory() ? readdirSync(join(folder, file)).map((inner) => join(file, inner)) : [file],
    )
    .sort();
  const isChoice = license !== null && / OR |\//.test(license) && !license.includes(' AND ');
  const preferred = isChoice
    ? PREFERRED.map((name) => files.find((file) => name.test(file))).find((file) => file !== undefined)
    : undefined;
  const texts = (preferred === undefined ? files : [preferred]).map((file) => readFileSync(join(folder, file), 'utf8'));
  if (texts.length === 0) {
    // The archive of the crate has no licence file.
    if (license !== 'MIT') throw new Error(`${name} ${version}: no file with its licence, ${license}`);
    const holders = authors.length > 0 ? authors.map((author) => author.replace(/ <.*>$/, '')).join(', ') : `the authors of ${name}`;
    texts.push(`MIT License\n\nCopyright (c) ${holders}\n\n${MIT}`);
  }
  return { title: `${name} ${version}`, license: license ?? '', texts };
}

/** Lua, whose C sources a crate brings for the build. @param {Metadata} metadata @returns {Notice} */
function lua({ packages }) {
  const crate = packages.find(({ name }) => name === 'lua-src');
  const header = crate && join(dirname(crate.manifest_path), 'lua-5.1.5/lua.h');
  if (!header || !existsSync(header))
    throw new Error('Lua is linked in, and its lua.h is not where it was: tell scripts/licenses.mjs where it is');
  const text = readFileSync(header, 'utf8');
  const license = /\/\*{20,}\n(\* Copyright \(C\)[\s\S]*?)\n\*{20,}\/\s/.exec(text)?.[1];
  const release = /LUA_RELEASE\s+"([^"]+)"/.exec(text)?.[1];
  if (!license || !release) throw new Error(`${header} holds no licence`);
  return { title: release, license: 'MIT', texts: [license.replace(/^\* ?/gm, '')] };
}

/** @type {Notice} */
const standardLibrary = {
  title: 'The Rust standard library',
  license: 'MIT OR Apache-2.0',
  texts: [`Copyright (c) The Rust Project Contributors\n\n${MIT}`],
};

/** The file of notices. @param {Metadata} metadata */
export function notices(metadata) {
  /** @type {Map<string, Notice[]>} */
  const byText = new Map();
  const all = [standardLibrary, lua(metadata), ...linked(metadata).map(noticeOf)];
  for (const notice of all.sort((one, other) => (one.title < other.title ? -1 : 1))) {
    for (const given of notice.texts) {
      const text = given
        .replaceAll('\r\n', '\n')
        .replace(/[ \t]+$/gm, '')
        .trim();
      byText.set(text, [...(byText.get(text) ?? []), notice]);
    }
  }
  const sections = [...byText].map(([text, of]) => {
    const titles = of.map(({ title, license }) => `- ${title} (${license})`).join('\n');
    return `${titles}\n\n\`\`\`text\n${text}\n\`\`\`\n`;
  });
  return `# Third-party notices

The binaries of redis-backplane contain the software below. Each licence stands under what it is for.

${sections.join('\n')}`;
}

/** The metadata of the crates for all platforms that have a binary. @returns {Metadata} */
function readMetadata() {
  const { napi } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const platforms = napi.targets.flatMap((/** @type {string} */ target) => ['--filter-platform', target]);
  const run = spawnSync('cargo', ['metadata', '--format-version', '1', '--locked', ...platforms], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (run.status !== 0) throw new Error('cargo metadata failed');
  return JSON.parse(run.stdout);
}

function readRules() {
  const text = readFileSync(join(root, 'deny.toml'), 'utf8');
  const list = (/** @type {string} */ name) => {
    const inner = new RegExp(`^${name} = \\[([^\\]]*)\\]`, 'm').exec(text)?.[1];
    if (inner === undefined) throw new Error(`deny.toml has no list ${name}`);
    return [...inner.matchAll(/"([^"]*)"/g)].map((match) => match[1] ?? '');
  };
  return { allow: list('allow'), registries: list('allow-registry') };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const metadata = readMetadata();
  const failures = refused(metadata, readRules());
  const file = join(root, NOTICES);
  const text = notices(metadata);
  if (process.argv.includes('--write')) writeFileSync(file, text);
  else if (!existsSync(file) || readFileSync(file, 'utf8') !== text)
    failures.push(`${NOTICES} is stale: run \`npm run build:notices\` and commit it`);
  for (const failure of failures) console.error(`- ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
}
