import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

test('the service starts, answers, and ends at SIGTERM', async () => {
  const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
  const child = spawn(process.execPath, [main], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const port = /^listening on (\d+)$/.exec(line)?.[1];
  assert.ok(port, line);
  assert.equal((await fetch(`http://127.0.0.1:${port}/ready`)).status, 200);
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [null, 'SIGTERM']);
});
