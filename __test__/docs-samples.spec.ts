/** Every code sample of the documentation is type-checked and, where it is a program, run as a reader would. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { root, tool } from '../scripts/root.mjs';
import { RedisServer } from './support/redis-server.ts';
import { allSamples, type CompiledSamples, compileSamples, printedBy, type Sample, samplesOf } from './support/samples.ts';

const samples = allSamples();
const programs = samples.filter(({ use }) => use !== 'test' && use !== 'fragment');
const tests = samples.filter(({ use }) => use === 'test');
let compiled: CompiledSamples;

/** How long a program may take before it counts as one that does not end. */
const PATIENCE_MS = 30_000;
vi.setConfig({ testTimeout: 2 * PATIENCE_MS, hookTimeout: 2 * PATIENCE_MS });

beforeAll(() => {
  compiled = compileSamples(samples);
});
afterAll(() => rmSync(compiled.folder, { recursive: true, force: true }));

/** The environment of a program of a reader: none of what Vitest has put into this one. */
function environment(url: string): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST') && name !== 'NODE_OPTIONS');
  return { ...Object.fromEntries(inherited), REDIS_URL: url, REDIS_TEST_URL: url, NO_COLOR: '1' };
}

/** What a program wrote, once it has ended well: by itself or, with `stop`, by the signal that it is sent when it has printed something. */
async function outputOf(args: string[], url: string, stop?: NodeJS.Signals): Promise<string> {
  const child = spawn(process.execPath, args, {
    cwd: compiled.folder,
    env: environment(url),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
  });
  if (stop) child.stdout.once('data', () => child.kill(stop));
  const [output, said, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  if (stop ? signal !== stop : code !== 0) throw new Error(`it ended with ${signal ?? code}\n${said}\n${output}`);
  return output;
}

/** Runs a sample and compares what it prints with what its comments say. */
async function run(sample: Sample, url: string): Promise<void> {
  const output = await outputOf([compiled.fileOf(sample)], url, sample.use === 'service' ? 'SIGTERM' : undefined);
  let rest = output;
  for (const expected of printedBy(sample)) {
    const at = rest.indexOf(expected);
    expect(at, `that it prints ${expected}, in its place; it printed\n${output}`).not.toBe(-1);
    rest = rest.slice(at + expected.length);
  }
}

/** Does it go to the server that it is told of? The others bring an engine of their own, and say so by its URL. */
const asksTheEnvironment = ({ text: code }: Sample): boolean => code.includes('REDIS_URL') || !code.includes('memory://');

const title = ({ page, line }: Sample): string => `${page}:${line}`;

it('a sample whose types are wrong, or whose fence says nothing of it, is not left out', () => {
  expect(samplesOf('a.md', '```ts\nlet a: string = 1;\n```\n\n```sh\nls\n```')).toHaveLength(1);
  expect(() => samplesOf('a.md', '\n```typescript\nlet a = 1;\n```')).toThrow('a.md:2');
  const wrong = compileSamples(samplesOf('a.md', '```ts\nlet a: string = 1;\n```'));
  rmSync(wrong.folder, { recursive: true });
  expect(wrong.mistakes).toEqual([expect.stringContaining('a.md:2: ')]);
});

it('no sample names what the package does not have', () => {
  expect(compiled.mistakes).toEqual([]);
});

describe.concurrent('a program of the documentation ends well, and prints what it says', () => {
  for (const sample of programs) {
    if (sample.use !== 'server') it(`${title(sample)} on memory://`, () => run(sample, 'memory://docs'));
    if (asksTheEnvironment(sample)) {
      it(`${title(sample)} on a server`, async () => {
        await using server = await RedisServer.start();
        await run(sample, server.url);
      });
    }
  }
});

describe('the tests of the documentation pass', () => {
  beforeAll(() => {
    const folder = join(compiled.folder, 'tests');
    mkdirSync(folder, { recursive: true });
    const config = {
      test: {
        include: ['*.mjs'],
        exclude: ['vitest.config.mjs'],
        alias: { 'redis-backplane': join(root, 'dist/index.js') },
        server: { deps: { external: ['/dist/'] } },
      },
    };
    writeFileSync(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify(config)};\n`);
  });

  async function pass(url: string): Promise<void> {
    const output = await outputOf([tool('vitest'), 'run', '--root', join(compiled.folder, 'tests')], url);
    expect(output).toContain(`Test Files  ${tests.length} passed`);
  }

  it('on memory://', () => pass('memory://docs'));
  it('on a server', async () => {
    await using server = await RedisServer.start();
    await pass(server.url);
  });
});
