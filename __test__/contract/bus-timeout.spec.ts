/** How long a durable handler may run: one suite on every backend. */
import { MessageBus } from 'redis-backplane';
import { expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { stretched } from '../support/starvation.ts';
import { until } from '../support/until.ts';

const TIMEOUT_MS = 300;
/** Its time begins with the batch it is started in, which may be some milliseconds before itself. */
const NEARLY_MS = 0.75 * TIMEOUT_MS;
/** A busy machine is late; the next look of an idle consumer would be seconds away. */
const SOON_MS = TIMEOUT_MS + 1_500;
const ONCE = { group: 'g', timeoutMs: TIMEOUT_MS, retry: { maxAttempts: 1 } };

describeBackends('timeoutMs', (backend) => {
  /** Resolves, with the milliseconds that took, when `signal` is aborted. */
  function aborted(signal: AbortSignal): Promise<number> {
    const begin = performance.now();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(performance.now() - begin)));
  }

  it('aborts each handler when its time is over, not at the next look', async () => {
    const bus = new MessageBus(backend.manager());
    const errors: unknown[] = [];
    bus.on('error', ({ error }) => errors.push(error));
    const took: number[] = [];
    await bus.subscribe('t', async (_, { signal }) => void took.push(await aborted(signal)), { ...ONCE, concurrency: 3 });
    for (let n = 0; n < 3; n++) await bus.publish('t', n, { durable: true });
    await until(() => took.length === 3, { what: 'each to be aborted' });
    for (const ms of took) {
      expect(ms).toBeGreaterThan(NEARLY_MS);
      expect(ms).toBeLessThan(stretched(SOON_MS));
    }
    expect(errors).toHaveLength(3);
    for (const error of errors) expect(error).toMatchObject({ redisErrorKind: 'timeout' });
    await bus.close();
  });

  it('gives one that began late all of its time, and no more', async () => {
    const bus = new MessageBus(backend.manager());
    bus.on('error', () => {});
    const took: number[] = [];
    let first = true;
    // Quick ones, so that more is taken than can begin at once.
    await bus.subscribe(
      't',
      async ({ payload }, { signal }) => {
        if (payload === 'quick') return;
        if (!first) return void took.push(await aborted(signal));
        first = false;
        // Not past its time, so that nothing is given back.
        await new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS / 2));
      },
      { ...ONCE, concurrency: 1 },
    );
    await Promise.all(Array.from({ length: 100 }, () => bus.publish('t', 'quick', { durable: true })));
    await Promise.all(Array.from({ length: 2 }, () => bus.publish('t', 'slow', { durable: true })));
    await until(() => took.length === 1, { what: 'the second to be aborted' });
    expect(took[0]).toBeGreaterThan(NEARLY_MS);
    expect(took[0]).toBeLessThan(stretched(SOON_MS));
    await bus.close();
  });
});
