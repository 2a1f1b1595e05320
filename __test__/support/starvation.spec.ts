import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { Deadline, starvation } from './starvation.ts';
import { until } from './until.ts';

/** Two more for each processor who want it whole; resolves when that is felt. */
async function crowd(): Promise<Disposable> {
  const children = Array.from({ length: 2 * availableParallelism() }, () => spawn(process.execPath, ['-e', 'for (;;);']));
  await until(() => starvation() > 1.7, { what: 'the crowd to be felt', timeoutMs: 10_000 });
  return {
    [Symbol.dispose]() {
      for (const child of children) child.kill('SIGKILL');
    },
  };
}

describe('a deadline', () => {
  it('that would have passed on a machine at rest has not on a starved one, and passes there too', async () => {
    using _ = await crowd();
    const deadline = new Deadline(50);
    const began = performance.now();
    await until(() => performance.now() - began > 55, { what: 'the time that a machine at rest needs' });
    expect(deadline.left()).toBeGreaterThan(0);
    await until(() => deadline.left() === 0, { what: 'it to pass' });
  });
});
