/**
 * Builds the service with one bundler, takes the output to a folder without node_modules, and runs it there: `node run.mjs esbuild`.
 * What a user has to set for each is in docs/deploying.md.
 */
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const here = import.meta.dirname;
const [name = ''] = process.argv.slice(2);
const out = join(here, 'out', name);
const elsewhere = mkdtempSync(join(tmpdir(), `bundled-${name}-`));
const copyNodeFiles = { '.node': 'copy' };

/** Each gives the file to run, in `out`. */
const bundlers = {
  /** A tracer, not a bundler: the files that are needed, as they are. */
  async nft() {
    const { nodeFileTrace } = await import('@vercel/nft');
    const { fileList } = await nodeFileTrace([join(here, 'service.cjs')], { base: here });
    for (const file of fileList) cpSync(join(here, file), join(out, file), { recursive: true });
    return 'service.cjs';
  },
  ncc() {
    node(bin('@vercel/ncc', 'dist/ncc/cli.js'), 'build', 'service.cjs', '-o', out);
    return 'index.cjs';
  },
  async esbuild() {
    const { build } = await import('esbuild');
    await build({ entryPoints: ['service.cjs'], bundle: true, platform: 'node', outdir: out, loader: copyNodeFiles, logLevel: 'error' });
    return 'service.js';
  },
  async webpack() {
    const { default: webpack } = await import('webpack');
    const rules = [{ test: /\.node$/, loader: 'node-loader' }];
    const config = {
      mode: 'production',
      target: 'node',
      entry: './service.cjs',
      output: { path: out, filename: 'service.cjs' },
      module: { rules },
    };
    await new Promise((done, reject) => {
      webpack(config, (error, stats) => (error || stats.hasErrors() ? reject(error ?? new Error(stats.toString('errors-only'))) : done()));
    });
    return 'service.cjs';
  },
  async rolldown() {
    const { rolldown } = await import('rolldown');
    const bundle = await rolldown({ input: 'service.mjs', platform: 'node', moduleTypes: copyNodeFiles });
    await bundle.write({ dir: out, format: 'esm', entryFileNames: 'service.mjs' });
    return 'service.mjs';
  },
  async vite() {
    const { build } = await import('vite');
    const rolldownOptions = { moduleTypes: copyNodeFiles };
    await build({
      logLevel: 'warn',
      ssr: { noExternal: true },
      build: { ssr: 'service.mjs', ssrEmitAssets: true, outDir: out, rolldownOptions },
    });
    return 'service.mjs';
  },
  /** As Vite does it unless told otherwise: dependencies stay in node_modules. */
  async 'vite-external'() {
    const { build } = await import('vite');
    await build({ logLevel: 'warn', build: { ssr: 'service.mjs', outDir: out } });
    cpSync(join(here, 'node_modules'), join(out, 'node_modules'), {
      recursive: true,
      filter: (from) => !/node_modules\/(?!redis-backplane)/.test(from),
    });
    return 'service.mjs';
  },
};

process.chdir(here);
mkdirSync(out, { recursive: true });
try {
  if (name === 'next') await next();
  else if (name === 'sea') await sea();
  else {
    const entry = await bundlers[name]();
    cpSync(out, elsewhere, { recursive: true });
    expectStored(run(process.execPath, [join(elsewhere, entry)]));
  }
} finally {
  rmSync(elsewhere, { recursive: true, force: true });
}

/** The standalone server of Next.js, started and asked. */
async function next() {
  node(bin('next', 'dist/bin/next'), 'build');
  cpSync(join(here, '.next/standalone'), elsewhere, { recursive: true });
  const env = { ...process.env, PORT: '0', HOSTNAME: '127.0.0.1' };
  const server = spawn(process.execPath, [join(elsewhere, 'server.js')], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let printed = '';
    const url = await new Promise((found, reject) => {
      server.once('close', () => reject(new Error(`the server ended: ${printed}`)));
      server.stdout.on('data', (text) => {
        printed += text;
        const [address] = /http:\/\/127\.0\.0\.1:\d+/.exec(printed) ?? [];
        if (address && printed.includes('Ready')) found(address);
      });
    });
    const response = await fetch(`${url}/kv`);
    expectStored(response.ok ? `stored: ${(await response.json()).stored}` : `${response.status}: ${await response.text()}`);
  } finally {
    server.kill();
  }
}

/** A single executable: the binary stands beside it, or where REDIS_BACKPLANE_BINARY says. */
async function sea() {
  const { build } = await import('esbuild');
  await build({
    entryPoints: ['service.cjs'],
    bundle: true,
    platform: 'node',
    outdir: out,
    external: ['redis-backplane-*'],
    logLevel: 'error',
  });
  writeFileSync(
    join(out, 'sea.json'),
    JSON.stringify({ main: join(out, 'service.js'), output: join(out, 'blob'), disableExperimentalSEAWarning: true }),
  );
  node('--experimental-sea-config', join(out, 'sea.json'));
  const program = join(elsewhere, 'service');
  copyFileSync(process.execPath, program);
  const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
  node(bin('postject', 'dist/cli.js'), program, 'NODE_SEA_BLOB', join(out, 'blob'), '--sentinel-fuse', fuse);

  const folder = dirname(createRequire(import.meta.url).resolve(ownPackage()));
  const [file] = readdirSync(folder).filter((each) => each.endsWith('.node'));
  expectStored(run(program, [], { REDIS_BACKPLANE_BINARY: join(folder, file) }));
  copyFileSync(join(folder, file), join(elsewhere, file));
  expectStored(run(program, []));
}

function ownPackage() {
  return readdirSync(join(here, 'node_modules')).find((each) => each.startsWith('redis-backplane-'));
}

function bin(module, file) {
  return join(here, 'node_modules', module, file);
}

function node(...args) {
  execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1' } });
}

function run(program, args, env = {}) {
  return execFileSync(program, args, { cwd: elsewhere, encoding: 'utf8', env: { ...process.env, ...env } });
}

function expectStored(printed) {
  if (printed.trim() !== 'stored: value') throw new Error(`${name}: expected "stored: value", got ${printed}`);
}
