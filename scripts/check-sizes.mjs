/**
 * Checks that no function has more than 60 lines and no struct more than 12 fields, except those named here with the reason. This script checks
 * structs in Rust and functions in Lua; clippy checks functions in Rust (`too-many-lines-threshold`), biome functions in TypeScript
 * (`noExcessiveLinesPerFunction`). Blank lines and comments do not count.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './root.mjs';

const MOST_LINES = 60;
const MOST_FIELDS = 12;

/** Structs that have more fields, each with the reason. @type {Record<string, string>} */
const structs = {
  'src/telemetry/mod.rs Metrics': 'a list: one counter for each metric',
  'src/telemetry/mod.rs Snapshot': 'a list: the same metrics, read',
  'src/connection/config.rs Config': 'a list: one field for each option of a manager',
  'src/queue/options.rs JobOptions': 'a list: one field for each option of a job',
  'src/queue/worker/lease.rs Renewed': 'a list: one field for each part of the answer of one script',
  'src/registry/fuzzing.rs WorkerJson': 'a list: one field for each of what a worker is told as, read back from JSON',
  'src/embedded/state.rs Core': 'everything that one engine owns; a running script owns all of it meanwhile',
  'src/embedded/client.rs Client': 'everything that the engine knows of a client, as CLIENT LIST tells it',
  'src/registry/mod.rs Inner': 'what everything of one registry uses; each is a thing of its own',
};

/** Functions in Lua that have more lines, each with the reason. @type {Record<string, string>} */
const functions = {};

/** @type {string[]} */
const failures = [];
const used = new Set();

for (const path of files('src')) {
  if (path.endsWith('.rs')) {
    for (const { name, size } of structsOf(readFileSync(join(root, path), 'utf8'))) {
      judge(structs, `${path} ${name}`, size, MOST_FIELDS, 'fields; make parts of it that have methods');
    }
  } else if (path.endsWith('.lua')) {
    for (const { name, size } of functionsOf(readFileSync(join(root, path), 'utf8'))) {
      judge(functions, `${path} ${name}`, size, MOST_LINES, 'lines; make functions of it that do one thing each');
    }
  }
}
for (const name of [...Object.keys(structs), ...Object.keys(functions)]) {
  if (!used.has(name)) failures.push(`${name} is not too large any more: take it off the list in scripts/check-sizes.mjs`);
}

for (const failure of failures) console.error(`- ${failure}`);
if (failures.length > 0) process.exit(1);

/** @param {Record<string, string>} exceptions @param {string} name @param {number} size @param {number} most @param {string} advice */
function judge(exceptions, name, size, most, advice) {
  if (size <= most) return;
  if (name in exceptions) used.add(name);
  else failures.push(`${name} has ${size} ${advice}, or name it in scripts/check-sizes.mjs with the reason`);
}

/** The structs with named fields, and the number of their fields. rustfmt writes one field a line. @param {string} text */
function structsOf(text) {
  const found = [];
  for (const [, indent = '', name, body = ''] of text.matchAll(/^( *)(?:pub(?:\([^)]*\))? )?struct (\w+)[^;{]*\{\n([\s\S]*?)^\1\}/gm)) {
    found.push({ name, size: body.match(new RegExp(`^${indent} {4}(?:pub(?:\\([^)]*\\))? )?(?:r#)?\\w+: `, 'gm'))?.length ?? 0 });
  }
  return found;
}

/** The functions that start at the beginning of a line, and the number of lines of their bodies. @param {string} text */
function functionsOf(text) {
  const found = [];
  for (const [, name, other, body = ''] of text.matchAll(
    /^(?:(?:local )?function ([\w.:]+)|(?:local )?(\w+) = function)[^\n]*\n([\s\S]*?)^end$/gm,
  )) {
    const lines = body.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('--'));
    found.push({ name: name ?? other, size: lines.length });
  }
  return found;
}

/** Every file under a folder, with its path from the root. @param {string} folder @returns {string[]} */
function files(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? files(path) : [path];
  });
}
