/** A graph that waits for an answer is killed, and goes on in another process. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const namespace = `consumer-langgraph-${process.pid}`;
const start = (step) => spawn(process.execPath, ['graph.mjs', step, 'order-7', namespace], { stdio: ['ignore', 'pipe', 'inherit'] });
const told = async (child) => JSON.parse((await once(createInterface({ input: child.stdout }), 'line'))[0]);

const first = start('begin');
const begun = await told(first);
assert.deepEqual(begun.asked, ['which one?']);
first.kill('SIGKILL');
assert.deepEqual(await once(first, 'exit'), [null, 'SIGKILL']);

const second = start('resume');
const resumed = await told(second);
assert.deepEqual(await once(second, 'exit'), [0, null]);
assert.notEqual(resumed.pid, begun.pid);
assert.equal(resumed.attempt, 1);
assert.ok(resumed.fence > begun.fence);
assert.deepEqual(resumed.next, ['ask']);
assert.deepEqual(resumed.log, [
  `prepared by ${begun.pid}`,
  // Written by a task of the step in which the other one stopped: it is not done again.
  'answered the second',
  `beside by ${begun.pid}`,
  `concluded by ${resumed.pid}`,
]);
