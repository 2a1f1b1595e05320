/** One signal for all waits of a service: no warning of Node, one listener, and every wait ends with it. */

import { randomUUID } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { KVStore, MessageBus, RedisConnectionManager, retry, TaskQueue, WorkerRegistry } from 'redis-backplane';
import { expect, it } from 'vitest';

it('a signal shared by hundreds of waits has one listener, causes no warning, and ends them all', async () => {
  await using manager = new RedisConnectionManager({ url: `memory://${randomUUID()}`, namespace: 'a' });
  const kv = new KVStore(manager);
  await using bus = new MessageBus(manager);
  await using queue = new TaskQueue('q', manager);
  await using registry = new WorkerRegistry(manager);
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on('warning', onWarning);

  await using _held = await kv.lock('k');
  await using _leader = await registry.elect('r');
  const job = await queue.add('job', null);
  await using _quiet = await bus.respond('asked', () => new Promise(() => {}));
  const stop = new AbortController();
  const waits: Promise<unknown>[] = [];
  for (let i = 0; i < 30; i += 1) {
    waits.push(
      kv.lock('k', { waitMs: 60_000, signal: stop.signal }),
      registry.elect('r', { waitMs: 60_000, signal: stop.signal }),
      job.waitUntilFinished({ timeoutMs: 60_000, signal: stop.signal }),
      bus.request('asked', i, { timeoutMs: 60_000, signal: stop.signal }),
      retry(() => Promise.reject(new Error('again')), { maxAttempts: 9, minDelayMs: 60_000, signal: stop.signal }),
      bus
        .messages(`m${i}`, { signal: stop.signal })
        [Symbol.asyncIterator]()
        .next()
        .then(({ done }) => ({ ended: done })),
    );
    await bus.subscribe(`live${i}`, () => {}, { signal: stop.signal });
    await bus.subscribe(`durable${i}`, () => {}, { group: 'g', signal: stop.signal });
  }
  const settled = Promise.allSettled(waits);
  expect(getEventListeners(stop.signal, 'abort')).toHaveLength(1);
  // Node emits its warning in a later turn.
  await new Promise((resolve) => setImmediate(resolve));
  expect(warnings).toEqual([]);
  stop.abort(new Error('the service stops'));
  const ends = (await settled).map((one) => (one.status === 'rejected' ? one.reason.redisErrorKind : one.value));
  expect(ends.filter((end) => end === 'cancelled')).toHaveLength(150);
  expect(ends.filter((end) => end !== 'cancelled')).toEqual(Array(30).fill({ ended: true }));
  expect(getEventListeners(stop.signal, 'abort')).toHaveLength(0);
  process.off('warning', onWarning);
});
