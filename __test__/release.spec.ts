/**
 * A release, rehearsed: the commands of .github/workflows/release.yml, from the tag to `npm install redis-backplane` in an empty project,
 * with a registry on this machine in the place of the public one.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readBinary } from '../scripts/binary.mjs';
import { startRegistry } from '../scripts/local-registry.mjs';
import { type Platform, platforms } from '../scripts/platforms.mjs';
import { PACKAGE_ROOT } from './support/process.ts';
import { watchedFolder } from './support/watched.ts';

const { version } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as { version: string };
const tag = `v${version}`;
const dist = join(PACKAGE_ROOT, 'dist');
const own = readdirSync(dist).find((name) => name.endsWith('.node')) ?? '';

/** A checkout that is ready to be released. */
let checkout: string;
beforeAll(() => {
  checkout = watchedFolder();
  for (const name of readdirSync(PACKAGE_ROOT)) {
    if (/^(\.git|target|dist|node_modules|fuzz|bench|vendor|src|tests)$/.test(name)) continue;
    cpSync(join(PACKAGE_ROOT, name), join(checkout, name), { recursive: true, filter: (from) => !from.includes('node_modules') });
  }
  cpSync(join(PACKAGE_ROOT, 'src/js'), join(checkout, 'src/js'), { recursive: true });
  symlinkSync(join(PACKAGE_ROOT, 'node_modules'), join(checkout, 'node_modules'));
  change('package.json', (text) =>
    JSON.stringify({ ...JSON.parse(text), repository: { type: 'git', url: 'git+https://github.com/someone/redis-backplane.git' } }),
  );
  change('CHANGELOG.md', (text) => text.replace(/^## .*$/m, `## ${version}, 2026-12-01`));
  mkdirSync(join(checkout, 'binaries'));
  for (const platform of platforms) {
    const file = join(checkout, 'binaries', `redis-backplane.${platform.name}.node`);
    if (file.endsWith(own)) copyFileSync(join(dist, own), file);
    else writeFileSync(file, standIn(platform));
  }
});

function change(name: string, edit: (text: string) => string): void {
  writeFileSync(join(checkout, name), edit(readFileSync(join(checkout, name), 'utf8')));
}

/** The one command of the workflow that begins so, with more words after it. */
async function step(begins: string, { more = '', env = {} }: { more?: string; env?: NodeJS.ProcessEnv } = {}) {
  const workflow = readFileSync(join(PACKAGE_ROOT, '.github/workflows/release.yml'), 'utf8');
  const commands = new Set([...workflow.matchAll(/^ +- run: (node scripts\/.*)$/gm)].map(([, command = '']) => command));
  const [command, ...others] = [...commands].filter((each) => each.startsWith(begins));
  if (command === undefined || others.length > 0) throw new Error(`release.yml has not one command that begins with ${begins}`);
  return new Promise<{ code: number; output: string }>((resolve) => {
    const child = execFile(
      'bash',
      ['-c', `${command} ${more}`],
      { cwd: checkout, env: { ...process.env, GITHUB_REF_NAME: tag, GITHUB_REPOSITORY: 'someone/redis-backplane', ...env } },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? 1, output: stdout + stderr }),
    );
  });
}

describe('before anything is built', () => {
  it('a tag that is not the version is refused', async () => {
    const { code, output } = await step('node scripts/release.mjs check', { env: { GITHUB_REF_NAME: 'v99.0.0' } });
    expect({ code, output }).toMatchObject({
      code: 1,
      output: expect.stringContaining(`the tag is v99.0.0, and package.json has version ${version}`),
    });
  });

  it('another repository than the one package.json names is refused, since the registry would refuse it last of all', async () => {
    const { code, output } = await step('node scripts/release.mjs check', { env: { GITHUB_REPOSITORY: 'someone/else' } });
    expect({ code, output }).toMatchObject({ code: 1, output: expect.stringContaining('this runs in someone/else') });
  });

  it('the right tag is taken', async () => {
    expect(await step('node scripts/release.mjs check')).toMatchObject({ code: 0, output: `${tag}: in order\n` });
  });
});

describe.runIf(process.platform === 'linux')('what is packed', () => {
  it('holds no binary that needs a later glibc than is promised', async () => {
    const needed = readBinary(join(dist, own)).glibc ?? '';
    const { code, output } = await step('node scripts/pack.mjs', { more: '--glibc=2.2' });
    expect({ code, output }).toMatchObject({ code: 1, output: expect.stringContaining(`needs glibc ${needed}, and 2.2 is promised`) });
    expect(existsSync(join(checkout, 'tarballs'))).toBe(false);
  });

  it('holds no binary in the package of another platform', async () => {
    const [one, other] = ['linux-arm64-musl', 'darwin-x64'].map((name) => join(checkout, 'binaries', `redis-backplane.${name}.node`));
    const kept = readFileSync(one ?? '');
    copyFileSync(other ?? '', one ?? '');
    const { code, output } = await step('node scripts/pack.mjs');
    writeFileSync(one ?? '', kept);
    expect({ code, output }).toMatchObject({ code: 1, output: expect.stringMatching(/linux-arm64-musl: \S+ is for darwin x64/) });
  });

  it('is installed by name from a registry, for this platform alone, and works; then just that is published, each package once', async () => {
    // A development build needs the glibc of this machine.
    const glibc = readBinary(join(dist, own)).glibc;
    expect(await step('node scripts/build.mjs --face')).toMatchObject({ code: 0 });
    const packed = await step('node scripts/pack.mjs', { more: `--glibc=${glibc}` });
    expect(packed, packed.output).toMatchObject({ code: 0 });
    const tried = await step('node scripts/release.mjs try');
    expect(tried, tried.output).toMatchObject({ code: 0 });
    expect(tried.output).toContain(`installed: redis-backplane, redis-backplane-${own.split('.')[1]}\n`);
    expect(tried.output.match(/smoke: ok/g)).toHaveLength(2);

    const registry = await startRegistry();
    const settings = join(checkout, 'npmrc');
    writeFileSync(settings, `registry=${registry.url}\n${registry.url.slice('http:'.length)}:_authToken=local\n`);
    const env = { NPM_CONFIG_USERCONFIG: settings, npm_config_registry: registry.url };
    const published = await step('node scripts/release.mjs publish', { env });
    expect(published, published.output).toMatchObject({ code: 0 });
    expect(registry.names()).toEqual(['redis-backplane', ...platforms.map(({ name }) => `redis-backplane-${name}`)].sort());
    const again = await step('node scripts/release.mjs publish', { env });
    expect(again.output.match(/is published already/g)).toHaveLength(platforms.length + 1);
    registry.stop();
  }, 300_000);

  it('carries its licence and notices, names its repository, and has no link or map that leads nowhere', async () => {
    for (const tarball of readdirSync(join(checkout, 'tarballs'))) {
      const folder = watchedFolder();
      await new Promise((resolve) => execFile('tar', ['xzf', join(checkout, 'tarballs', tarball), '-C', folder], resolve));
      const at = (name: string) => join(folder, 'package', name);
      const manifest = JSON.parse(readFileSync(at('package.json'), 'utf8'));
      expect(manifest, tarball).toMatchObject({ type: 'commonjs', license: 'MIT', repository: { type: 'git' }, version });
      expect(manifest.keywords).toContain('redis');
      for (const file of ['LICENSE', 'THIRD-PARTY-NOTICES.md', 'README.md', manifest.main])
        expect(existsSync(at(file)), `${tarball}: ${file}`).toBe(true);
      if (manifest.name !== 'redis-backplane') continue;
      expect(Object.keys(manifest.optionalDependencies)).toEqual(platforms.map(({ name }) => `redis-backplane-${name}`));
      for (const file of ['dist/index.js', 'dist/face.js']) expect(readFileSync(at(file), 'utf8')).not.toContain('sourceMappingURL');
      // Those of docs/contributing/ lead into the repository.
      const pages = readdirSync(at('docs')).filter((name) => name.endsWith('.md'));
      for (const file of ['README.md', ...pages.map((name) => `docs/${name}`)]) {
        const links = [...readFileSync(at(file), 'utf8').matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, to = '']) => to);
        for (const to of links.filter((each) => !each.startsWith('https://'))) {
          expect(file, `${file}: ${to}`).not.toBe('README.md');
          expect(existsSync(join(at(file), '..', to)), `${file}: ${to}`).toBe(true);
        }
      }
    }
  });
});

/** As much of a binary for another platform as the packing looks at. */
function standIn({ os, cpu, libc }: Platform): Buffer {
  const isX64 = cpu === 'x64';
  if (os === 'darwin') return Buffer.concat([words(0xfeedfacf, isX64 ? 0x01000007 : 0x0100000c), Buffer.alloc(64)]);
  if (os === 'win32') {
    const bytes = Buffer.alloc(128);
    bytes.write('MZ');
    bytes.writeUInt32LE(64, 60);
    bytes.write('PE\0\0', 64, 'latin1');
    bytes.writeUInt16LE(isX64 ? 0x8664 : 0xaa64, 68);
    return bytes;
  }
  // A header; a table of the needed libraries, with one; their names; the table of sections.
  const names = Buffer.from(`\0${libc === 'musl' ? 'libc.so' : 'libc.so.6'}\0`.padEnd(16, '\0'));
  const dynamic = Buffer.alloc(16);
  dynamic.writeBigUInt64LE(1n);
  dynamic.writeBigUInt64LE(1n, 8);
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeUInt16LE(isX64 ? 62 : 183, 18);
  header.writeBigUInt64LE(96n, 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(2, 60);
  return Buffer.concat([header, dynamic, names, section(3, 80, 16, 0), section(6, 64, 16, 0)]);
}

function section(type: number, from: number, length: number, strings: number): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.writeUInt32LE(type, 4);
  bytes.writeBigUInt64LE(BigInt(from), 24);
  bytes.writeBigUInt64LE(BigInt(length), 32);
  bytes.writeUInt32LE(strings, 40);
  return bytes;
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [at, value] of values.entries()) bytes.writeUInt32LE(value, 4 * at);
  return bytes;
}
