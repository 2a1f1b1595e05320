/**
 * The scripts of BullMQ 6 on `memory://` and on a real redis-server: BullMQ's own code makes their keys and arguments (packed with
 * msgpack), each call is made on both, and the replies and what is stored afterwards are compared.
 */
import { randomUUID } from 'node:crypto';
import { RedisConnectionManager } from 'redis-backplane';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { FlowProducer, OnBoth, Queue, scripts } from '../support/bullmq-on-both.ts';
import { RedisServer } from '../support/redis-server.ts';

/** What is called of BullMQ's backend; how it turns these into keys and arguments is its own business. */
type Backend = (method: string, ...args: unknown[]) => Promise<unknown>;

const START = 1_900_000_000_000;
let server: RedisServer;
let managers: RedisConnectionManager[];

beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  await server.cli('FLUSHALL');
  managers = [server.url, `memory://${randomUUID()}`].map((url) => new RedisConnectionManager(url));
  // BullMQ takes its timestamps from here; they are arguments.
  vi.useFakeTimers({ toFake: ['Date'], now: START });
});
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(managers.map((manager) => manager.disconnect()));
});

/** The outcome of `call` on the real server and on the engine, which must be the same. */
async function same<T>(
  what: string,
  call: (manager: RedisConnectionManager) => Promise<T>,
  seen = (value: T): unknown => value,
): Promise<T> {
  const [real, memory] = await Promise.all(
    managers.map((manager) =>
      call(manager).then(
        (value) => ({ value, seen: seen(value) }),
        (error: Error) => ({ seen: error.message }),
      ),
    ),
  );
  expect(memory?.seen, what).toEqual(real?.seen);
  if (!real || !('value' in real)) throw new Error(`${what}: ${real?.seen}`);
  return real.value;
}

/** Everything BullMQ's own classes ask of Redis here is asked of both. */
const both = new OnBoth(same);

/** A backend of BullMQ whose every script runs on both. */
function backend(queue: string, options: Record<string, unknown> = {}): Backend {
  const made = both.backend(queue, options);
  both.called.clear();
  return async (method, ...args) => (Reflect.get(made, method) as (...args: unknown[]) => unknown).apply(made, args);
}

function job(id: string, opts: Record<string, unknown> = {}, more: Record<string, unknown> = {}) {
  return { id, name: 'paint', data: JSON.stringify({ id, text: 'ü€😀', n: 1.5 }), opts, timestamp: START, ...more };
}

/** How far apart, in ms, the two may be asked: what a time to live may differ by. */
const APART_MS = 20_000;

interface Stored {
  key: string;
  type: string;
  /** In ms; -1 without a time to live. */
  ttl: number;
  value: unknown;
}

/** Everything that is stored, without the ids of streams, which the clocks decide. */
async function contents(manager: RedisConnectionManager): Promise<Stored[]> {
  const keys = (await manager.command<string[]>('KEYS', '*')).sort();
  return Promise.all(
    keys.map(async (key) => {
      const type = await manager.command<string>('TYPE', key);
      const ttl = await manager.command<number>('PTTL', key);
      const read: Record<string, () => Promise<unknown>> = {
        string: () => manager.command('GET', key),
        list: () => manager.command('LRANGE', key, 0, -1),
        set: async () => (await manager.command<string[]>('SMEMBERS', key)).sort(),
        zset: () => manager.command('ZRANGE', key, 0, -1, 'WITHSCORES'),
        hash: () => manager.command('HGETALL', key),
        stream: async () => (await manager.command<[string, string[]][]>('XRANGE', key, '-', '+')).map(([, fields]) => fields),
      };
      return { key, type, ttl, value: await read[type]?.() };
    }),
  );
}

/** What is stored on both, which must be the same: the values exactly, times to live as closely as two clocks are. */
async function alike(): Promise<Stored[]> {
  const [real = [], memory = []] = await Promise.all(managers.map(contents));
  expect(memory).toEqual(real.map((stored) => ({ ...stored, ttl: expect.any(Number) })));
  for (const [index, { key, ttl }] of real.entries()) {
    const there = memory[index]?.ttl ?? Number.NaN;
    expect(there < 0, `${key} expires on one of the two only: ${ttl}, ${there}`).toBe(ttl < 0);
    expect(Math.abs(there - ttl), `time to live of ${key}: ${ttl}, ${there}`).toBeLessThan(APART_MS);
  }
  return real;
}

/** The same, and not nothing. */
async function storedAlike(): Promise<Stored[]> {
  const real = await alike();
  expect(real.length).toBeGreaterThan(0);
  return real;
}

it('every script is taken, under the same digest', async () => {
  expect(scripts.length).toBeGreaterThan(50);
  for (const { name, content } of scripts) {
    expect(await same(name, (manager) => manager.command('SCRIPT', 'LOAD', content))).toMatch(/^[0-9a-f]{40}$/);
  }
});

it('jobs are added, taken, finished, failed, tried again and counted alike', async () => {
  const queue = backend('colors', { metrics: { maxDataPoints: 10 } });
  expect(await queue('addJob', job('a', { attempts: 3 }), 'a')).toBe('a');
  expect(await queue('addJob', job('a', { attempts: 3 }), 'a')).toBe('a');
  expect(await queue('addJob', job(''), '')).toMatch(/^\d+$/);
  expect(await queue('addJob', job('late', { delay: 60_000 }), 'late')).toBe('late');
  expect(await queue('addJob', job('soon', { priority: 2 }), 'soon')).toBe('soon');
  expect(await queue('addJob', job('sooner', { priority: 1 }), 'sooner')).toBe('sooner');
  expect(await queue('addJob', job('lifo', { lifo: true }), 'lifo')).toBe('lifo');
  const states = ['wait', 'active', 'delayed', 'prioritized', 'completed', 'failed', 'paused'];
  expect(await queue('getCounts', states)).toEqual([3, 0, 1, 2, 0, 0, 0]);
  expect(await queue('getCountsPerPriority', [0, 1, 2])).toBeDefined();

  const taken: string[] = [];
  for (let round = 0; round < 5; round += 1) {
    const [data, id] = (await queue('moveToActive', 'token', 'worker')) as [object, string];
    taken.push(id);
    expect(data).toBeTruthy();
    await queue('extendLock', id, 'token', 30_000);
    await queue('updateProgress', id, 42);
    await queue('addLog', id, 'a line', 2);
    if (round === 1) {
      await queue('retryJob', id, false, 'token', {});
      continue;
    }
    if (round === 2) {
      await queue('moveToDelayed', id, START, 5_000, 'token', {});
      continue;
    }
    const failed = round === 3;
    const finished = [job(id, { attempts: 1 }), failed ? 'no paint' : '{"ok":true}', false, 'token', false];
    await queue('moveToFinished', id, await queue(failed ? 'moveToFailedArgs' : 'moveToCompletedArgs', ...finished));
    await queue('isFinished', id, true);
  }
  expect(taken[0]).toBe('lifo');
  for (const id of [...taken, 'late', 'nobody']) await queue('getState', id);
  await queue('getRanges', states, 0, 10, true);
  await queue('getMetrics', 'completed');
  await queue('changePriority', 'sooner', 7, false).catch(() => {});
  await queue('changeDelay', 'late', 1_000);
  await queue('promote', 'late');
  await queue('pause', true);
  await queue('pause', false);
  await queue('moveStalledJobsToWait');
  await queue('retryFinishedJobs', 'failed', 10, START + 1_000);
  for (const id of taken) await queue('remove', id, true);
  expect(both.called.size).toBeGreaterThan(20);
  expect((await storedAlike()).length).toBeGreaterThan(4);
  await queue('drain', true);
  await queue('pause', true);
  await queue('obliterate', { force: true, count: 1_000 });
  await alike();
});

async function finish(queue: Backend, id: string, failed: boolean, value: string): Promise<void> {
  const args = await queue(failed ? 'moveToFailedArgs' : 'moveToCompletedArgs', job(id, { attempts: 1 }), value, false, 'token', false);
  await queue('moveToFinished', id, args);
}

it('a flow waits for its children, gets their values, and fails with one of them where it was told to', async () => {
  const flows = new FlowProducer({ connection: {} }, both.factory());
  const child = (jobId: string, opts: object = {}) => ({ name: 'part', queueName: 'parts', data: { jobId }, opts: { jobId, ...opts } });
  const grandchild = { ...child('deep'), children: [child('deepest', { delay: 5_000 })] };
  await flows.add({
    name: 'whole',
    queueName: 'wholes',
    data: { n: 1 },
    opts: { jobId: 'parent' },
    children: [child('one'), child('two', { priority: 3, ignoreDependencyOnFailure: true }), grandchild],
  });
  await flows.addBulk([
    {
      name: 'whole',
      queueName: 'wholes',
      opts: { jobId: 'doomed' },
      children: [child('bad', { failParentOnFailure: true }), child('other')],
    },
    { name: 'alone', queueName: 'wholes', opts: { jobId: 'alone' } },
  ]);
  await storedAlike();

  const [parts, wholes] = [backend('parts'), backend('wholes')];
  expect(await wholes('getState', 'parent')).toBe('waiting-children');
  expect(await wholes('getDependencyCounts', 'parent', ['processed', 'unprocessed', 'ignored', 'failed'])).toEqual([0, 3, 0, 0]);
  for (const expected of ['one', 'bad', 'other', 'two']) {
    const [, id] = (await parts('moveToActive', 'token', 'worker')) as [object, string];
    expect(id).toBe(expected);
    await finish(parts, id, id === 'bad' || id === 'two', JSON.stringify({ id }));
  }
  await wholes('getDependencyCounts', 'parent', ['processed', 'unprocessed', 'ignored', 'failed']);
  await parts('promote', 'deepest');
  for (const expected of ['deepest', 'deep']) {
    const [, id] = (await parts('moveToActive', 'token', 'worker')) as [object, string];
    expect(id).toBe(expected);
    await finish(parts, id, false, '1');
  }
  expect(await wholes('getState', 'parent')).toBe('waiting');
  expect(Object.keys((await wholes('getProcessedChildrenValues', 'parent')) as object).sort()).toEqual([
    'bull:parts:deep',
    'bull:parts:one',
  ]);
  await wholes('moveToActive', 'token', 'worker');
  await storedAlike();
  await wholes('removeUnprocessedChildren', 'parent').catch(() => {});
  await wholes('remove', 'doomed', true);
  await storedAlike();
});

it('job schedulers are set, changed, produce the next job and are removed alike', async () => {
  const queue = new Queue('clock', { connection: {} }, both.factory());
  await queue.upsertJobScheduler('tick', { every: 10_000 }, { name: 'tick', data: { n: 1 }, opts: { attempts: 2 } });
  await queue.upsertJobScheduler('daily', { pattern: '0 15 3 * * *', tz: 'Europe/Berlin', limit: 5 }, { name: 'daily' });
  expect(await queue.getJobSchedulersCount()).toBe(2);
  await queue.getJobScheduler('tick');
  await queue.getJobSchedulers(0, 10, true);
  await storedAlike();
  const worker = backend('clock');
  const [, first] = (await worker('moveToActive', 'token', 'worker')) as [object, string];
  expect(first).toMatch(/^repeat:tick:/);
  vi.setSystemTime(START + 10_000);
  const next = { delay: 10_000, timestamp: START + 10_000, repeat: { every: 10_000, count: 2 }, repeatJobKey: 'tick' };
  await worker('updateJobSchedulerNextMillis', 'tick', START + 20_000, '{}', next, first);
  await finish(worker, first, false, 'null');
  await queue.upsertJobScheduler('tick', { every: 3_000 }, { name: 'tick', data: { n: 2 } });
  await storedAlike();
  expect(await queue.removeJobScheduler('tick')).toBe(true);
  expect(await queue.removeJobScheduler('tick')).toBe(false);
  await storedAlike();
});

it('jobs whose worker died go back to wait, and fail when that happens too often', async () => {
  const queue = backend('stalls');
  for (const id of ['a', 'b']) await queue('addJob', job(id), id);
  const taken = async () => ((await queue('moveToActive', 'token', 'worker')) as [object, string])[1];
  /** A lock that ran out, and a check that is due again. */
  const abandon = (...ids: string[]) =>
    same('DEL', (manager) => manager.command('DEL', 'bull:stalls:stalled-check', ...ids.map((id) => `bull:stalls:${id}:lock`)));
  for (let time = 0; time < 3; time += 1) {
    const ids = [await taken(), await taken()].filter((id) => id !== undefined && id !== '');
    // The first check only marks what is active; the second finds what nobody has renewed.
    await abandon();
    await queue('moveStalledJobsToWait');
    await queue(
      'extendLocks',
      ids.slice(1),
      ids.slice(1).map(() => 'token'),
      30_000,
    );
    await abandon(...ids.slice(0, 1));
    await queue('moveStalledJobsToWait');
    await storedAlike();
    for (const id of ids.slice(1)) await queue('retryJob', id, false, 'token', {});
  }
  await queue('getCounts', ['wait', 'active', 'failed', 'completed']);
  await storedAlike();
});

it('a paused queue gives nothing out, and a limited one only so much', async () => {
  const queue = new Queue('taps', { connection: {} }, both.factory());
  const worker = backend('taps', { limiter: { max: 2, duration: 60_000 } });
  await queue.addBulk([1, 2, 3, 4].map((n) => ({ name: 'drop', data: { n }, opts: { jobId: `drop-${n}` } })));
  await queue.pause();
  expect(await queue.isPaused()).toBe(true);
  expect(((await worker('moveToActive', 'token', 'worker')) as unknown[])[1] || undefined).toBeUndefined();
  await queue.add('drop', {}, { jobId: 'late', priority: 1 });
  await storedAlike();
  await queue.resume();
  await storedAlike();
  const given: unknown[] = [];
  for (let n = 0; n < 4; n += 1) given.push(((await worker('moveToActive', 'token', 'worker')) as unknown[])[1]);
  expect(given.filter(Boolean)).toHaveLength(2);
  expect(await worker('getRateLimitTtl', 2)).toBeGreaterThan(0);
  await worker('moveJobFromActiveToWait', String(given[0]), 'token');
  await storedAlike();
  await worker('removeRateLimitKey');
  await worker('moveToActive', 'token', 'worker');
  await worker('setRateLimit', 30_000);
  await worker('getRateLimitTtl', 2);
  await queue.setGlobalConcurrency(1);
  expect(await worker('isMaxed')).toBe(true);
  await storedAlike();
});

it('what happens to a job is told as events, in the order in which it happened', async () => {
  const queue = backend('news');
  await queue('addJob', job('a'), 'a');
  await queue('moveToActive', 'token', 'worker');
  await queue('updateProgress', 'a', 50);
  await queue('publishEvent', { event: 'custom', text: 'ü' }, 100);
  await finish(queue, 'a', false, '1');
  const told = (await queue('readEvents', '0-0', 100)) as Record<string, [string, string[]][]>;
  const events = Object.values(told)
    .flat()
    .map(([, fields]) => fields[fields.indexOf('event') + 1]);
  expect(events).toEqual(['added', 'waiting', 'active', 'progress', 'custom', 'completed', 'drained']);
  await queue('trimEvents', 0);
  await storedAlike();
});
