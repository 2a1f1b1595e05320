/**
 * The steps of a release; RELEASING.md says when which is taken.
 *
 *   node scripts/release.mjs check v1.2.3        is everything in order for that tag?
 *   node scripts/release.mjs try FOLDER          tarballs → a registry on this machine → `npm install` in an empty project → does it work?
 *   node scripts/release.mjs publish FOLDER      tarballs → the registry that npm is set to; what is there already is passed over
 *   node scripts/release.mjs placeholders        creates the packages that do not exist, once, and lets the workflow publish them
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { startRegistry } from './local-registry.mjs';
import { platforms } from './platforms.mjs';
import { repositoryUrl } from './repository.mjs';
import { root } from './root.mjs';

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
/** All packages, the one that depends on the others last. */
const packages = [...platforms.map(({ name }) => `${manifest.name}-${name}`), manifest.name];

/** @type {Record<string, (argument: string) => void | Promise<void>>} */
const steps = { check, try: tryOut, publish: (folder) => publishAll(tarballsIn(folder), process.env), placeholders };

/** @param {string} tag */
function check(tag) {
  const failures = [];
  const { version } = manifest;
  if (tag !== `v${version}`) failures.push(`the tag is ${tag}, and package.json has version ${version}: they must agree`);
  const crate = /^version = "([^"]+)"/m.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'))?.[1];
  if (crate !== version) failures.push(`Cargo.toml has version ${crate}, and package.json ${version}: they must agree`);
  const heading = readFileSync(join(root, 'CHANGELOG.md'), 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`## ${version}`));
  if (heading === undefined || !/\d{4}-\d\d-\d\d$/.test(heading))
    failures.push(`CHANGELOG.md: expected a heading "## ${version}, YYYY-MM-DD", got ${heading ?? 'none for this version'}`);
  try {
    const url = repositoryUrl(manifest);
    const { GITHUB_REPOSITORY: here } = process.env;
    if (here && url !== `https://github.com/${here}`)
      failures.push(`package.json: repository is ${url}, and this runs in ${here}: the registry takes nothing from another repository`);
  } catch (error) {
    failures.push(/** @type {Error} */ (error).message);
  }
  if (failures.length > 0) throw new Error(`no release:\n- ${failures.join('\n- ')}`);
  console.log(`${tag}: in order`);
}

/** The tarballs in a folder: those of binaries, then the main package. @param {string} folder */
function tarballsIn(folder) {
  const files = packages.map((name) => join(resolve(folder), `${name}-${manifest.version}.tgz`));
  const there = readdirSync(folder);
  const missing = files.filter((file) => !there.some((name) => file.endsWith(`/${name}`) || file.endsWith(`\\${name}`)));
  if (missing.length > 0) throw new Error(`missing: ${missing.join(', ')}`);
  return files;
}

/** @param {string[]} tarballs @param {NodeJS.ProcessEnv} env */
async function publishAll(tarballs, env) {
  const registry = registryOf(env);
  // A prerelease must not get the tag `latest`, which `npm install` takes by default.
  const tag = manifest.version.includes('-') ? 'next' : 'latest';
  for (const [at, file] of tarballs.entries()) {
    const name = packages[at] ?? '';
    const integrity = `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
    const published = (await publishedVersions(registry, name))[manifest.version]?.dist.integrity;
    if (published === integrity) console.log(`${name} ${manifest.version} is published already`);
    else if (published !== undefined)
      throw new Error(`${name} ${manifest.version} is published with other content, ${published}: release another version`);
    else await npm(['publish', file, '--access', 'public', '--tag', tag], { env });
  }
}

/** The published versions of a package; empty if the registry does not have the package. @param {string} registry @param {string} name */
async function publishedVersions(registry, name) {
  const response = await fetch(new URL(name, registry), { headers: { 'cache-control': 'no-cache' }, signal: AbortSignal.timeout(60_000) });
  if (response.status === 404) return {};
  if (!response.ok) throw new Error(`${registry} answered ${response.status} for ${name}`);
  const { versions } = /** @type {{ versions: Record<string, { dist: { integrity: string } }> }} */ (await response.json());
  return versions;
}

/** The registry that npm publishes to. @param {NodeJS.ProcessEnv} env */
function registryOf(env) {
  const { status, stdout } = spawnSync('npm', ['config', 'get', 'registry'], {
    env,
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (status !== 0) throw new Error('npm config get registry failed');
  return stdout.trim();
}

/** @param {string} folder */
async function tryOut(folder) {
  const work = mkdtempSync(join(tmpdir(), 'release-'));
  const registry = await startRegistry();
  try {
    const settings = join(work, 'npmrc');
    writeFileSync(
      settings,
      `registry=${registry.url}\n${registry.url.slice('http:'.length)}:_authToken=local\ncache=${join(work, 'cache')}\n`,
    );
    const env = { ...process.env, NPM_CONFIG_USERCONFIG: settings, npm_config_registry: registry.url, npm_config_provenance: 'false' };
    await publishAll(tarballsIn(folder), env);
    // Published twice: packages that are already published are skipped, so that an interrupted release can be continued.
    await publishAll(tarballsIn(folder), env);
    const project = mkdtempSync(join(work, 'project-'));
    writeFileSync(join(project, 'package.json'), '{ "private": true }\n');
    await npm(['install', '--no-audit', '--no-fund', `${manifest.name}@${manifest.version}`], { env, cwd: project });
    const installed = readdirSync(join(project, 'node_modules')).filter((name) => name.startsWith(manifest.name));
    console.log(`installed: ${installed.join(', ')}`);
    if (installed.length !== 2) throw new Error(`expected the package and one binary, got ${installed.join(', ')}`);
    for (const file of ['smoke.cjs', 'smoke.mjs']) {
      copyFileSync(join(root, '__test__/consumers/runtimes', file), join(project, file));
      const { status } = spawnSync(process.execPath, [file], { cwd: project, stdio: 'inherit', timeout: 60_000 });
      if (status !== 0) throw new Error(`${file} failed on ${process.platform} ${process.arch}, Node ${process.version}`);
    }
  } finally {
    registry.stop();
    rmSync(work, { recursive: true, force: true });
  }
}

/** Publishes an empty first version of each package, because trusted publishing can only be set up for an existing package. */
async function placeholders() {
  const url = repositoryUrl(manifest);
  const registry = registryOf(process.env);
  for (const name of packages) {
    if (Object.keys(await publishedVersions(registry, name)).length > 0) {
      console.log(`${name} exists`);
      continue;
    }
    const folder = mkdtempSync(join(tmpdir(), 'placeholder-'));
    const { license, repository } = manifest;
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({ name, version: '0.0.0', description: `Holds the name for ${url}`, license, repository }, null, 2),
    );
    copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
    await npm(['publish', folder, '--access', 'public', '--tag', 'placeholder']);
    rmSync(folder, { recursive: true });
  }
  for (const name of packages) {
    console.log(
      `npm trust github ${name} --file release.yml --repository ${url.slice('https://github.com/'.length)} --env release --allow-publish`,
    );
  }
}

/**
 * Runs npm while this process goes on: it may be the registry.
 * @param {string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} [options]
 * @returns {Promise<void>}
 */
function npm(args, { env = process.env, cwd = root } = {}) {
  return new Promise((done, reject) => {
    const child = spawn('npm', args, { cwd, env, stdio: 'inherit', shell: process.platform === 'win32' });
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? done() : reject(new Error(`npm ${args.join(' ')} ended with ${code}`))));
  });
}

const [name = '', argument = ''] = process.argv.slice(2);
const step = steps[name];
if (step === undefined) {
  console.error(`release: expected one of ${Object.keys(steps).join(', ')}, got ${JSON.stringify(name)}`);
  process.exitCode = 1;
} else {
  try {
    await step(argument);
  } catch (error) {
    console.error(/** @type {Error} */ (error).message);
    process.exitCode = 1;
  }
}
