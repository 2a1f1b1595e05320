/**
 * Checks the rules of ARCHITECTURE.md that no compiler checks. Each failure names the rule, the place, and the remedy.
 *
 * - Without the feature `node` the dependency tree holds no napi package.
 * - Only src/node names napi.
 * - Only the listed functions may be an `async fn` exported through napi, because such a function makes a thread-safe function at every call.
 * - Modules use only modules below them.
 * - Files form no circles, except the listed ones, each with its reason.
 * - Only src/keys spells Redis keys. Heuristic: elsewhere no string in code, Rust or Lua, looks like a key, that is,
 *   words joined by colons without a space (`seen:{id}`, `~lock:`). The embedded engine is left out: it owns no keys.
 * - index.d.ts imports from node: only and names nothing of the native side.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { circles } from './circles.mjs';
import { root } from './root.mjs';

/** The allowed `#[napi] async fn`: functions of administration, which no command calls. @type {string[]} */
const asyncExports = [];

/** Strings that look like keys but are not: a field of INFO, an address. */
const notKeys = ['redis_version:', '{}:{}'];

/** The modules that each module may use besides itself. Every module may use `error`. @type {Record<string, string[]>} */
const below = {
  error: [],
  sync: [],
  backoff: ['error'],
  keys: ['error'],
  lifecycle: ['error', 'sync'],
  options: ['error'],
  redis_commands: [],
  resp: ['error'],
  telemetry: ['error', 'sync'],
  crossing: ['error', 'resp'],
  waits: ['sync'],
  json: [],
};
below.arguments = ['error', 'crossing', 'keys', 'options'];
const leaves = Object.keys(below);
below.embedded = leaves;
below.connection = [...leaves, 'embedded'];
below.verb = [...leaves, 'connection'];
below.lease = [...leaves, 'connection'];
const shared = [...leaves, 'connection', 'verb', 'lease'];
for (const feature of ['bullmq', 'kv', 'bus', 'registry', 'sessions']) below[feature] = shared;
below.queue = [...shared, 'registry'];
below.checkpoints = [...shared, 'registry'];
below.node = [...shared, 'bullmq', 'kv', 'bus', 'registry', 'sessions', 'queue', 'checkpoints'];

/** The allowed uses that close a circle of files. @type {import('./circles.mjs').Exception[]} */
const closing = [
  {
    from: 'src/connection/subscriber/task.rs',
    to: 'src/connection/subscriber/connections.rs',
    why: 'the list of connections starts a task for each, and the task reports to the list',
  },
  {
    from: 'src/embedded/state.rs',
    to: 'src/embedded/scripting/mod.rs',
    why: 'an engine owns its scripts, and a running script owns the engine meanwhile',
  },
  {
    from: 'src/embedded/commands/lookup.rs',
    to: 'src/embedded/commands/table.rs',
    why: 'every command is found by the table of handlers, and handlers find commands: COMMAND, EXEC, scripts',
  },
];

/** @type {string[]} */
const failures = [];

const tree = spawnSync('cargo', ['tree', '--no-default-features', '--edges', 'all', '--prefix', 'none', '--locked'], {
  cwd: root,
  encoding: 'utf8',
});
if (tree.status !== 0) failures.push(`cargo tree failed:\n${tree.stderr}`);
const napi = new Set(tree.stdout.match(/^napi\S*/gm));
if (napi.size > 0) {
  failures.push(
    `the core must not know Node: \`cargo tree --no-default-features\` holds ${[...napi].join(', ')}; make it optional behind \`node\``,
  );
}

for (const path of files('src')) {
  const module = /^src\/([a-z_]+)/.exec(path)?.[1] ?? '';
  const text = readFileSync(join(root, path), 'utf8');
  if (path.endsWith('.rs')) {
    const code = withoutComments(text);
    checkNapi(path, module, code);
    checkArrows(path, module, code);
    if (module !== 'keys' && module !== 'embedded') checkKeys(path, code.split('#[cfg(test)]')[0] ?? '', /b?"((?:[^"\\]|\\.)*)"/g);
  } else if (path.endsWith('.lua') && module !== 'embedded') {
    checkKeys(path, text.replace(/--.*$/gm, ''), /(?:"|')((?:[^"'\\\n]|\\.)*)(?:"|')/g);
  }
}

const { found, unused } = circles(
  root,
  files('src').filter((path) => /\.(rs|ts)$/.test(path)),
  closing,
);
for (const way of found) {
  failures.push(
    `files make a circle, each using the next: ${[...way, way[0]].join(' → ')}; move what one of them needs to a file of its own below both`,
  );
}
for (const { from, to } of unused) failures.push(`${from} → ${to} closes no circle any more: take it off the list`);

const declarations = join(root, 'index.d.ts');
if (existsSync(declarations)) {
  const text = readFileSync(declarations, 'utf8');
  for (const [, from] of text.matchAll(/(?:from |import\()['"]([^'"]+)['"]/g)) {
    if (!from?.startsWith('node:')) failures.push(`index.d.ts imports from ${from}: a user does not have that`);
  }
  for (const [name] of text.matchAll(/\bNative[A-Z]\w*|\binternals\b|\.node\b/g)) {
    failures.push(`index.d.ts names ${name}: native classes and internals stay private; mark them @internal`);
  }
}

for (const failure of failures) console.error(`- ${failure}`);
if (failures.length > 0) process.exit(1);

/** @param {string} path @param {string} module @param {string} code */
function checkNapi(path, module, code) {
  if (module !== 'node' && /\bnapi(_derive|_build)?\b/.test(code))
    failures.push(`${path} names napi: only src/node may; give it a trait of the core to implement`);
  for (const [, name] of code.matchAll(/#\[napi[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?async fn (\w+)/g)) {
    if (name && !asyncExports.includes(name)) {
      failures.push(
        `${path}: the export ${name} is an \`async fn\`; submit it through the port, or list it in ${relative(root, import.meta.filename ?? '')}`,
      );
    }
  }
}

/** @param {string} path @param {string} module @param {string} code */
function checkArrows(path, module, code) {
  if (module === 'lib') return;
  const allowed = below[module];
  if (!allowed) {
    failures.push(
      `${path}: the module ${module} has no place in the layers; give it one in scripts/check-architecture.mjs and ARCHITECTURE.md`,
    );
    return;
  }
  const used = new Set();
  for (const [, name] of code.matchAll(/\bcrate::([a-z_]+)/g)) used.add(name);
  for (const [, group] of code.matchAll(/\bcrate::\{([\s\S]*?)\};/g)) {
    for (const [, name] of (group ?? '').replace(/::\{[^{}]*\}/g, '').matchAll(/(?:^|,)\s*([a-z_]+)/g)) used.add(name);
  }
  used.delete(module);
  for (const name of used) {
    if (name in below && !allowed.includes(name))
      failures.push(`${path} uses crate::${name}: arrows point down, and ${name} does not stand below ${module}`);
  }
}

/** @param {string} path @param {string} code @param {RegExp} literal */
function checkKeys(path, code, literal) {
  for (const [, text] of code.matchAll(literal)) {
    if (text && !notKeys.includes(text) && /^[~\w{}<>*-]*[~\w}*-]:(?!:)[~\w{}<>*:-]*$/.test(text) && !/^\d|::/.test(text)) {
      failures.push(`${path} spells ${JSON.stringify(text)}, which looks like a Redis key: keys are made in src/keys`);
    }
  }
}

/** Code without comments; strings stay. @param {string} text */
function withoutComments(text) {
  return text.replace(/("(?:[^"\\]|\\[\s\S])*")|\/\/.*$|\/\*[\s\S]*?\*\//gm, (_, string) => string ?? '');
}

/** Every file under a folder, with its path from the root. @param {string} folder @returns {string[]} */
function files(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? files(path) : [path];
  });
}
