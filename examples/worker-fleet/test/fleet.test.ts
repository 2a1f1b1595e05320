import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const url = process.env.REDIS_TEST_URL; // several processes need a server

function start(script: string, ...args: string[]): { child: ChildProcess; lines: AsyncIterator<string[]>; exited: Promise<unknown[]> } {
  const file = fileURLToPath(new URL(`../src/${script}.js`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], { env: { ...process.env, REDIS_URL: url }, stdio: ['ignore', 'pipe', 'inherit'] });
  const reader = createInterface(child.stdout);
  return { child, lines: on(reader, 'line', { close: ['close'] }), exited: once(child, 'exit') };
}

async function nextLine(lines: AsyncIterator<string[]>): Promise<string> {
  return (await lines.next()).value[0];
}

test('a worker that is killed costs no picture', { skip: !url && 'REDIS_TEST_URL is not set' }, async () => {
  const workers = [start('worker'), start('worker')] as const;
  for (const { lines } of workers) assert.equal(await nextLine(lines), 'ready');

  const main = start('main', '12');
  assert.match(await nextLine(workers[0].lines), /^rendering picture-\d+, attempt 1/);
  workers[0].child.kill('SIGKILL');

  const rendered: string[] = [];
  for (let at = 0; at < 12; at++) rendered.push(await nextLine(main.lines));
  assert.deepEqual(
    rendered.map((line) => line.replace(/ by \d+$/, '')),
    Array.from({ length: 12 }, (_, at) => `picture-${at + 1}.png`),
  );
  assert.deepEqual(await main.exited, [0, null]);

  workers[1].child.kill('SIGTERM');
  assert.deepEqual(await workers[1].exited, [null, 'SIGTERM']);
});
