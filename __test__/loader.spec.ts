/** How the native binary is found, and what is said where it is not: each way it can fail has its own message. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { elf } from './support/elf.ts';
import { PACKAGE_ROOT, runProcess } from './support/process.ts';
import { watchedFolder } from './support/watched.ts';

const dist = join(PACKAGE_ROOT, 'dist');
const file = readdirSync(dist).find((name) => name.endsWith('.node')) ?? '';
const platform = file.split('.')[1] ?? '';

/** A project with the package installed as npm does it. */
let project: string;
let main: string;
let binary: string;
beforeEach(() => {
  project = watchedFolder();
  main = join(project, 'node_modules/redis-backplane');
  binary = join(project, `node_modules/redis-backplane-${platform}`);
  mkdirSync(join(main, 'dist'), { recursive: true });
  for (const name of ['dist/index.js', 'dist/face.js', 'package.json']) cpSync(join(PACKAGE_ROOT, name), join(main, name));
  mkdirSync(binary);
  writeFileSync(join(binary, 'package.json'), JSON.stringify({ name: `redis-backplane-${platform}`, main: file }));
  symlinkSync(join(dist, file), join(binary, file));
});

interface Loading {
  env?: Record<string, string>;
  nodeOptions?: string[];
  /** Of the process: replaced before the package is loaded. */
  process?: object;
  entry?: string;
}

/** `loaded`, or the message of the error. */
async function load({ env, nodeOptions, process: replaced = {}, entry = main }: Loading = {}): Promise<string> {
  const ended = await runProcess(
    ({ emit, args, require }) => {
      for (const [name, value] of Object.entries(args.replaced)) Object.defineProperty(process, name, { value });
      try {
        emit(typeof (require(args.entry) as { createContainer: unknown }).createContainer === 'function' ? 'loaded' : 'not the package');
      } catch (error) {
        emit((error as Error).message);
      }
    },
    { args: { entry, replaced }, env, nodeOptions },
  );
  return String(ended.lines[0] ?? ended.stderr);
}

/** Puts a file of other content in the place of the binary. */
function replaceBinary(content: Buffer | string): void {
  rmSync(join(binary, file));
  writeFileSync(join(binary, file), content);
}

describe('the binary is taken from', () => {
  it('the package of the platform', async () => {
    expect(await load()).toBe('loaded');
  });

  it('the file beside the code, with no package installed', async () => {
    rmSync(binary, { recursive: true });
    symlinkSync(join(dist, file), join(main, 'dist', file));
    expect(await load()).toBe('loaded');
  });

  it('where REDIS_BACKPLANE_BINARY says, also where it is called something else and nothing is built for the platform', async () => {
    rmSync(binary, { recursive: true });
    const elsewhere = join(project, 'other.node');
    symlinkSync(join(dist, file), elsewhere);
    expect(await load({ env: { REDIS_BACKPLANE_BINARY: elsewhere } })).toBe('loaded');
    expect(await load({ env: { REDIS_BACKPLANE_BINARY: elsewhere }, process: { arch: 'riscv64' } })).toBe('loaded');
    expect(await load({ env: { REDIS_BACKPLANE_BINARY: elsewhere }, process: { platform: 'freebsd' } })).toBe('loaded');
  });

  it.each([
    ['darwin', 'arm64', 'darwin-arm64'],
    ['darwin', 'x64', 'darwin-x64'],
    ['linux', 'arm64', 'linux-arm64-gnu', '/lib/ld-linux-aarch64.so.1'],
    ['linux', 'arm64', 'linux-arm64-musl', '/lib/ld-musl-aarch64.so.1'],
    ['linux', 'x64', 'linux-x64-gnu', '/lib64/ld-linux-x86-64.so.2'],
    ['linux', 'x64', 'linux-x64-musl', '/lib/ld-musl-x86_64.so.1'],
    ['win32', 'arm64', 'win32-arm64-msvc'],
    ['win32', 'x64', 'win32-x64-msvc'],
  ])('the package of %s on %s: %s, and no other', async (system, arch, name, interpreter?: string) => {
    rmSync(binary, { recursive: true });
    const installed = join(project, `node_modules/redis-backplane-${name}`);
    mkdirSync(installed);
    writeFileSync(join(installed, 'index.js'), `module.exports = require(${JSON.stringify(join(dist, file))});`);
    const program = join(project, 'node');
    writeFileSync(program, elf(interpreter));
    expect(await load({ process: { platform: system, arch, execPath: program } })).toBe('loaded');
  });
});

describe('a message of its own for', () => {
  it.each(['relative.node', '/nowhere/redis.node'])('a REDIS_BACKPLANE_BINARY that is no file: %s', async (given) => {
    const message = await load({ env: { REDIS_BACKPLANE_BINARY: given } });
    expect(message).toMatch(/^REDIS_BACKPLANE_BINARY: expected the absolute path/);
    expect(message).toContain(`got "${given}"`);
  });

  it('a package that is not installed: how that comes about, and what to do', async () => {
    rmSync(binary, { recursive: true });
    const message = await load();
    expect(message).toMatch(new RegExp(`^redis-backplane-${platform} is not installed`));
    for (const part of ['--omit=optional', 'https://github.com/npm/cli/issues/4828', 'package-lock.json']) expect(message).toContain(part);
  });

  it('an installation of another platform', async () => {
    rmSync(binary, { recursive: true });
    const other = platform === 'darwin-arm64' ? 'linux-x64-musl' : 'darwin-arm64';
    mkdirSync(join(project, `node_modules/redis-backplane-${other}`));
    expect(await load()).toMatch(new RegExp(`^redis-backplane was installed for ${other}, and this is ${platform}`));
  });

  it('a package without its file', async () => {
    rmSync(join(binary, file));
    expect(await load()).toBe(`${binary} is damaged: ${file} is missing from it. Remove node_modules and install again`);
  });

  it('a file that is no native code', async () => {
    replaceBinary('version https://git-lfs.github.com/spec/v1');
    expect(await load()).toMatch(/is damaged: it is no (ELF|Mach-O|Windows) file\. Remove node_modules/);
  });

  it.runIf(process.platform === 'linux')('a file that was cut', async () => {
    replaceBinary(readFileSync(join(dist, file)).subarray(0, 1_000_000));
    expect(await load()).toMatch(/is damaged: it has 1000000 of at least \d+ bytes/);
  });

  it('a file that is whole, and that the system does not load: what it says', async () => {
    const other = join(project, 'other.node');
    writeFileSync(other, Buffer.from('cffaedfe0c000001', 'hex'));
    const message = await load({ env: { REDIS_BACKPLANE_BINARY: other }, process: { platform: 'darwin' } });
    expect(message).toMatch(/^the native binary of redis-backplane, \/\S+\/other\.node, could not be loaded: .+/);
  });

  it('something in the place of the file that cannot be read', async () => {
    const message = await load({ env: { REDIS_BACKPLANE_BINARY: project } });
    expect(message).toContain(`the native binary of redis-backplane, ${project}, could not be loaded: `);
  });

  it.runIf(platform.endsWith('-gnu'))('a glibc that is too old: which one is needed, and which there is', async () => {
    const content = readFileSync(join(dist, file));
    const versions = [...new Set(content.toString('latin1').match(/GLIBC_2\.\d\d(?=\0)/g))].sort();
    const newest = versions.at(-1) ?? '';
    const text = content.toString('latin1').replaceAll(`${newest}\0`, 'GLIBC_2.99\0');
    const renamed = text.replaceAll(elfHash(newest), elfHash('GLIBC_2.99'));
    replaceBinary(Buffer.from(renamed, 'latin1'));
    expect(await load()).toMatch(/redis-backplane\.\S+\.node, needs glibc 2\.99 or later, and this system has 2\.\d+$/);
  });

  it('a process that may load no addons', async () => {
    expect(await load({ nodeOptions: ['--no-addons'] })).toMatch(/may load none: start it without --no-addons/);
  });

  it('a platform that nothing is built for: which there are', async () => {
    const message = await load({ process: { platform: 'freebsd', arch: 'riscv64' } });
    expect(message).toMatch(
      /^redis-backplane has no native binary for freebsd-riscv64; there is one for each of darwin-arm64, .*win32-x64-msvc$/,
    );
  });

  it('a bundle that lost it', async () => {
    const bundle = join(watchedFolder(), 'bundle.js');
    const code = readFileSync(join(dist, 'face.js'), 'utf8').replace(/require\("\.\.\/package\.json"\)/, '{ version: "1.2.3" }');
    writeFileSync(bundle, code);
    expect(await load({ entry: bundle })).toMatch(/^redis-backplane was bundled without its native binary .* external\)/);
    copyFileSync(join(dist, file), join(bundle, '..', file));
    expect(await load({ entry: bundle })).toBe('loaded');
  });

  it('an older Node, which is told in one line', async () => {
    for (const node of ['18.20.8', '20.11.1']) {
      const message = await load({ process: { versions: { ...process.versions, node } } });
      expect(message).toBe(`redis-backplane needs Node.js 20.12 or later, and this is ${node}`);
    }
  });
});

it('every platform that is built for has its package named literally, where tracers and bundlers look for it', () => {
  const code = readFileSync(join(dist, 'face.js'), 'utf8');
  const named = [...code.matchAll(/return require\("redis-backplane-([\w-]+)"\)/g)].map(([, name]) => name);
  const listed = execFileSync(process.execPath, [join(PACKAGE_ROOT, 'scripts/platforms.mjs')], { encoding: 'utf8' });
  expect(named.sort()).toEqual(listed.trim().split('\n').sort());
  expect(existsSync(join(dist, file))).toBe(true);
});

/** The hash by which a dynamic linker looks for the name of a version. */
function elfHash(name: string): string {
  let hash = 0;
  for (const byte of Buffer.from(name)) {
    hash = (hash << 4) + byte;
    const high = hash & 0xf0000000;
    hash ^= high >>> 24;
    hash &= ~high;
  }
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(hash >>> 0);
  return bytes.toString('latin1');
}
