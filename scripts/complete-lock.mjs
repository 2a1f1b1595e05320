/**
 * Adds to package-lock.json the optional packages of other platforms that npm could not look up when it wrote the file
 * (a registry may not offer all of them). Without them `npm ci` calls the lock file out of date. npm does not download them
 * on this platform; `npm install` with a registry that offers them adds their checksums. Run it after every `npm install`.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './root.mjs';

const systems = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const processors = ['arm64', 'arm', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64'];

/**
 * @typedef {{ version?: string, dev?: boolean, optional?: boolean, os?: string[], cpu?: string[], optionalDependencies?: Record<string, string> }}
 * Entry
 */

const file = join(root, 'package-lock.json');
/** @type {{ packages: Record<string, Entry> }} */
const lock = JSON.parse(readFileSync(file, 'utf8'));
let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, wanted] of Object.entries(entry.optionalDependencies ?? {})) {
    if (`${path}/node_modules/${name}` in lock.packages || `node_modules/${name}` in lock.packages) continue;
    const words = (name.split('/').at(-1) ?? '').split(/[-.]/).map((word) => (word === 'windows' ? 'win32' : word));
    const os = words.filter((word) => systems.includes(word));
    const cpu = words.filter((word) => processors.includes(word));
    if (name === 'fsevents') os.push('darwin');
    // Without a platform every machine would try to download it.
    if (os.length + cpu.length === 0) throw new Error(`${path}: no platform can be read off the optional package ${name}`);
    lock.packages[`node_modules/${name}`] = {
      version: wanted.replace(/^[~^]/, ''),
      ...(os.length > 0 && { os }),
      ...(cpu.length > 0 && { cpu }),
      dev: true,
      optional: true,
    };
    added += 1;
  }
}
const [rootEntry, ...others] = Object.entries(lock.packages);
lock.packages = Object.fromEntries([
  .../** @type {[string, Entry][]} */ (rootEntry ? [rootEntry] : []),
  ...others.sort(([a], [b]) => (a < b ? -1 : 1)),
]);
if (added > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`package-lock.json: ${added} packages of other platforms added`);
