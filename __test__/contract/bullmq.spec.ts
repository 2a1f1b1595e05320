/**
 * The scripts of BullMQ 6 on `memory://` and on a real redis-server: BullMQ's own code makes their keys and arguments (packed with
 * msgpack), each call is made on both, and the replies and what is stored afterwards are compared.
 */
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { type CommandArgument, RedisConnectionManager } from 'redis-backplane';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { RedisServer } from '../support/redis-server.ts';

interface Script {
  name: string;
  content: string;
  keys: number;
}

/** What is called of BullMQ's backend; how it turns these into keys and arguments is its own business. */
type Backend = (method: string, ...args: unknown[]) => Promise<unknown>;

const require = createRequire(import.meta.url);
const scripts = Object.values(require('bullmq/dist/cjs/scripts/index.js') as Record<string, Script>);
const byName = new Map(scripts.map((script) => [script.name, script]));
const { RedisQueueBackend, QueueKeys } = require('bullmq') as {
  RedisQueueBackend: new (...args: unknown[]) => object;
  QueueKeys: new (prefix: string) => { getKeys(queue: string): Record<string, string>; toKey(queue: string, type: string): string };
};

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
async function same<T>(what: string, call: (manager: RedisConnectionManager) => Promise<T>): Promise<T> {
  const [real, memory] = await Promise.all(
    managers.map((manager) =>
      call(manager).then(
        (value) => ({ value }),
        (error: Error) => ({ error: error.message }),
      ),
    ),
  );
  expect(memory, what).toEqual(real);
  if (!real || !('value' in real)) throw new Error(`${what}: ${real?.error}`);
  return real.value;
}

/** A backend of BullMQ whose every script runs on both. */
function backend(queue: string, options: Record<string, unknown> = {}, called = new Set<string>()): Backend {
  const keys = new QueueKeys('bull');
  const client = {
    status: 'ready',
    runCommand: async (versioned: string, given: unknown[]) => {
      const name = versioned.split(':')[0] as string;
      const script = byName.get(name);
      if (!script) throw new Error(`BullMQ has no script ${name}`);
      called.add(name);
      const args = given.flat().map((arg): CommandArgument => (Buffer.isBuffer(arg) ? arg : String(arg ?? '')));
      return same(name, (manager) => manager.command('EVAL', script.content, script.keys, ...args));
    },
  };
  const connection = { client: Promise.resolve(client), redisVersion: '7.0.0', databaseType: 'redis', on: () => {} };
  const toKey = (type: string) => keys.toKey(queue, type);
  const made = new RedisQueueBackend(connection, queue, keys.getKeys(queue), toKey, {
    prefix: 'bull',
    lockDuration: 30_000,
    maxStalledCount: 1,
    stalledInterval: 30_000,
    ...options,
  });
  return async (method, ...args) => (Reflect.get(made, method) as (...args: unknown[]) => unknown).apply(made, args);
}

function job(id: string, opts: Record<string, unknown> = {}, more: Record<string, unknown> = {}) {
  return { id, name: 'paint', data: JSON.stringify({ id, text: 'ü€😀', n: 1.5 }), opts, timestamp: START, ...more };
}

/** Everything that is stored, without what the two clocks decide: times to live are given to the minute, stream ids not at all. */
async function contents(manager: RedisConnectionManager): Promise<unknown> {
  const keys = (await manager.command<string[]>('KEYS', '*')).sort();
  return Promise.all(
    keys.map(async (key) => {
      const type = await manager.command<string>('TYPE', key);
      const ttl = Math.round((await manager.command<number>('PTTL', key)) / 60_000);
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

it('every script is taken, under the same digest', async () => {
  expect(scripts.length).toBeGreaterThan(50);
  for (const { name, content } of scripts) {
    expect(await same(name, (manager) => manager.command('SCRIPT', 'LOAD', content))).toMatch(/^[0-9a-f]{40}$/);
  }
});

it('jobs are added, taken, finished, failed, tried again and counted alike', async () => {
  const called = new Set<string>();
  const queue = backend('colors', { metrics: { maxDataPoints: 10 } }, called);
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
  expect(called.size).toBeGreaterThan(20);
  const [real, memory] = await Promise.all(managers.map(contents));
  expect(memory).toEqual(real);
  expect((real as unknown[]).length).toBeGreaterThan(4);
  await queue('drain', true);
  await queue('pause', true);
  await queue('obliterate', { force: true, count: 1_000 });
  const [realAfter, memoryAfter] = await Promise.all(managers.map(contents));
  expect(memoryAfter).toEqual(realAfter);
});
