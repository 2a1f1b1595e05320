/**
 * Makes the tarballs that users install: the main package, and a package for each platform's binary.
 *
 *   node scripts/pack.mjs [folder] [--publish] [--binaries=folder] [--glibc=2.17]
 *
 * Without --publish only the binary in dist/ is packed. With --publish the binaries of all platforms must exist, each for its platform, and none may
 * need a later glibc than --glibc. The main package then has them all as optional dependencies, and its links lead to the repository.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compareVersions, readBinary } from './binary.mjs';
import { NOTICES } from './licenses.mjs';
import { platforms } from './platforms.mjs';
import { repositoryUrl } from './repository.mjs';
import { root } from './root.mjs';

/** The oldest supported glibc: that of CentOS 7, which Rust's standard library needs too. */
const GLIBC = '2.17';

/** @typedef {import('./platforms.mjs').Platform} Platform */

/**
 * @param {string} folder where the tarballs go
 * @param {{ publish?: boolean, binaries?: string, glibc?: string }} [options]
 * @returns {{ main: string, binary: string, all: string[] }} their paths; `binary` is the one for this machine, `all` has the main package last
 */
export function pack(folder, { publish = false, binaries = join(root, 'dist'), glibc = GLIBC } = {}) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const fileOf = (/** @type {Platform} */ { name }) => join(binaries, `redis-backplane.${name}.node`);
  const packed = publish ? platforms : platforms.filter((platform) => existsSync(fileOf(platform))).slice(0, 1);
  if (packed.length === 0) throw new Error(`${binaries} holds no .node file: run \`npm run build\` first`);
  if (publish) checkBinaries(fileOf, glibc);
  const staging = mkdtempSync(join(tmpdir(), 'pack-'));
  try {
    mkdirSync(folder, { recursive: true });
    const tarballs = packed.map((platform) => ({
      platform,
      file: packBinary(platform, fileOf(platform), manifest, join(staging, platform.name), folder),
    }));
    const main = packMain(manifest, publish, join(staging, 'main'), folder);
    const own = tarballs.find(({ platform: { os, cpu } }) => os === process.platform && cpu === process.arch);
    return { main, binary: (own ?? tarballs[0])?.file ?? '', all: [...tarballs.map(({ file }) => file), main] };
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/**
 * Throws unless every platform's binary is there, is for that platform, and loads on `glibc`. @param {(platform: Platform) => string} fileOf @param
 * {string} glibc
 */
function checkBinaries(fileOf, glibc) {
  const failures = platforms.flatMap((platform) => {
    const file = fileOf(platform);
    if (!existsSync(file)) return [`${platform.name}: ${file} is missing`];
    const is = readBinary(file);
    if (is.os !== platform.os || is.cpu !== platform.cpu || is.libc !== platform.libc)
      return [`${platform.name}: ${file} is for ${[is.os, is.cpu, is.libc].filter(Boolean).join(' ')}`];
    if (is.glibc !== undefined && compareVersions(is.glibc, glibc) > 0)
      return [`${platform.name}: ${file} needs glibc ${is.glibc}, and ${glibc} is promised: build it with scripts/build-linux.mjs`];
    return [];
  });
  if (failures.length > 0) throw new Error(`not packed for publishing:\n- ${failures.join('\n- ')}`);
}

/** @param {Platform} platform @param {string} file @param {any} manifest @param {string} staging @param {string} folder */
function packBinary({ name, target, os, cpu, libc }, file, manifest, staging, folder) {
  mkdirSync(staging);
  const binary = `redis-backplane.${name}.node`;
  const { version, license, keywords, repository, homepage, bugs, engines } = manifest;
  const own = {
    name: `${manifest.name}-${name}`,
    version,
    description: `The native binary of ${manifest.name} for ${target}`,
    license,
    keywords,
    repository,
    homepage,
    bugs,
    type: 'commonjs',
    main: binary,
    files: [binary, NOTICES],
    engines,
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
  };
  writeFileSync(join(staging, 'package.json'), `${JSON.stringify(own, null, 2)}\n`);
  writeFileSync(
    join(staging, 'README.md'),
    `# ${own.name}\n\nThe native binary of [${manifest.name}](https://www.npmjs.com/package/${manifest.name}) for \`${target}\`. Install \`${manifest.name}\`: it brings the binary that fits.\n`,
  );
  copyFileSync(file, join(staging, binary));
  for (const each of ['LICENSE', NOTICES]) copyFileSync(join(root, each), join(staging, each));
  return tarball(staging, folder);
}

/** @param {any} manifest @param {boolean} publish @param {string} staging @param {string} folder */
function packMain(manifest, publish, staging, folder) {
  mkdirSync(staging);
  for (const name of [...manifest.files, 'README.md', 'LICENSE']) cpSync(join(root, name), join(staging, name), { recursive: true });
  // The fields for development are removed.
  const { devDependencies: _, scripts: __, napi: ___, ...published } = manifest;
  if (publish) {
    published.optionalDependencies = Object.fromEntries(platforms.map(({ name }) => [`${manifest.name}-${name}`, manifest.version]));
    linkToRepository(staging, `${repositoryUrl(manifest)}/blob/v${manifest.version}`);
  }
  writeFileSync(join(staging, 'package.json'), `${JSON.stringify(published, null, 2)}\n`);
  return tarball(staging, folder);
}

/**
 * Makes the relative links of the README lead to the repository, because a registry shows the README without the other files. The links of docs/ stay
 * if they lead to a file of the package.
 * @param {string} staging @param {string} base
 */
function linkToRepository(staging, base) {
  const guides = readdirSync(join(staging, 'docs')).filter((name) => name.endsWith('.md'));
  for (const name of ['README.md', ...guides.map((guide) => `docs/${guide}`)]) {
    const file = join(staging, name);
    const linked = readFileSync(file, 'utf8').replace(/\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)/g, (link, to, part = '') => {
      const target = relative(staging, join(dirname(file), to));
      if (!existsSync(join(root, target))) throw new Error(`${name} links to ${to}, which does not exist`);
      return name !== 'README.md' && existsSync(join(staging, target)) ? link : `](${base}/${target}${part})`;
    });
    writeFileSync(file, linked);
  }
}

/**
 * @param {string} from
 * @param {string} to
 */
function tarball(from, to) {
  const printed = execFileSync('npm', ['pack', '--json', '--pack-destination', to], {
    cwd: from,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    shell: process.platform === 'win32',
  });
  /** npm 12 gives an object by package name, earlier versions an array. */
  const [packed] = /** @type {{ filename: string }[]} */ (Object.values(JSON.parse(printed)));
  if (!packed) throw new Error(`npm pack made nothing of ${from}`);
  return join(to, packed.filename);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [folder] = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
  const option = (/** @type {string} */ name) => process.argv.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  const binaries = option('binaries');
  const made = pack(resolve(folder ?? mkdtempSync(join(tmpdir(), 'redis-backplane-'))), {
    publish: process.argv.includes('--publish'),
    ...(binaries && { binaries: resolve(binaries) }),
    ...(option('glibc') && { glibc: option('glibc') }),
  });
  console.log(made);
}
