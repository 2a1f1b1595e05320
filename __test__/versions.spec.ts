/** Two copies of the package in one process: an application's and a library's, or what a module registry that was reset loads again. */
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type * as Package from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PACKAGE_ROOT } from './support/process.ts';
import { RedisServer } from './support/redis-server.ts';
import { watchedFolder } from './support/watched.ts';

type Copy = typeof Package;

/** A copy in a folder of its own, its files changed by `change`. */
function copyOf(change: (file: string, text: string) => string): Copy {
  const folder = join(watchedFolder(), 'node_modules/redis-backplane');
  mkdirSync(join(folder, 'dist'), { recursive: true });
  for (const name of readdirSync(join(PACKAGE_ROOT, 'dist'))) {
    const from = join(PACKAGE_ROOT, 'dist', name);
    // The addon is large, and is the same.
    if (name.endsWith('.node')) symlinkSync(from, join(folder, 'dist', name));
    else cpSync(from, join(folder, 'dist', name), { recursive: true });
  }
  cpSync(join(PACKAGE_ROOT, 'package.json'), join(folder, 'package.json'));
  for (const file of ['package.json', 'dist/face.js']) {
    writeFileSync(join(folder, file), change(file, readFileSync(join(folder, file), 'utf8')));
  }
  return createRequire(join(folder, 'package.json'))('redis-backplane') as Copy;
}

const withVersion = (version: string) => (file: string, text: string) =>
  file === 'package.json' ? JSON.stringify({ ...JSON.parse(text), version }) : text;
/** One operation more before all others: each number means another one. */
const withOneMoreCall = (file: string, text: string) =>
  file === 'package.json' ? text : text.replace(/\bnative\.verbs\(\)/, "['one.more', ...native.verbs()]");

let redis: RedisServer;
let own: Copy;
beforeAll(async () => {
  redis = await RedisServer.start();
  own = createRequire(join(PACKAGE_ROOT, 'package.json'))('redis-backplane') as Copy;
});
afterAll(() => redis[Symbol.asyncDispose]());

describe.each<[name: string, change: (file: string, text: string) => string]>([
  ['a later version', withVersion('7.8.9')],
  ['another build of the same version', withOneMoreCall],
])('%s', (_, change) => {
  const takers: [name: string, take: (other: Copy, manager: Package.RedisConnectionManager, own: Copy) => unknown][] = [
    ['KVStore', (other, manager) => new other.KVStore(manager)],
    ['makeRedisKV', (other, manager) => other.makeRedisKV(manager)],
    ['MessageBus', (other, manager) => new other.MessageBus(manager)],
    [
      'MessageBus.subscriber',
      (other, manager) => new other.MessageBus(new other.RedisConnectionManager(redis.url), { subscriber: manager }),
    ],
    ['TaskQueue', (other, manager) => new other.TaskQueue('q', manager)],
    ['WorkerRegistry', (other, manager) => new other.WorkerRegistry(manager)],
    ['bullmqConnection', (other, manager) => other.bullmqConnection(manager)],
    ['bullmqOptions', (other, manager) => other.bullmqOptions(manager)],
    ['once', (other, manager, own) => other.once(new own.KVStore(manager), 'k', () => 1, 1)],
    ['deduplicateEvent', (other, manager, own) => other.deduplicateEvent(new own.KVStore(manager), 'e', 1)],
    [
      'TaskQueue.process: registry',
      (other, manager, own) => {
        const queue = new other.TaskQueue('q', new other.RedisConnectionManager(redis.url));
        return queue.process(() => {}, { registry: new own.WorkerRegistry(manager) });
      },
    ],
  ];

  test.each(takers)('its %s refuses what this version made, and names both', async (name, take) => {
    const other = copyOf(change);
    const manager = new own.RedisConnectionManager(redis.url);
    const error = await new Promise<unknown>((resolve) => resolve(take(other, manager, own))).then(
      () => undefined,
      (caught: unknown) => caught,
    );
    if (!(error instanceof own.RedisError)) throw new Error('expected a RedisError', { cause: error });
    expect(error.redisErrorKind).toBe('config');
    const [ours, theirs] = [own, other].map(versionOf);
    expect(theirs).not.toBe(ours);
    expect(error.message).toMatch(/^\w+[^:]*: /);
    for (const version of [ours, theirs]) expect(error.message, name).toContain(version);
    await manager.disconnect();
  });

  /** As its own errors say it. */
  function versionOf(copy: Copy): string {
    try {
      new copy.KVStore(Object.defineProperty({}, Symbol.for('redis-backplane.made'), { value: { version: '', kind: '' } }) as never);
    } catch (error) {
      return /redis-backplane, (.+?), got/.exec((error as Error).message)?.[1] ?? '';
    }
    return '';
  }
});

test('a copy of the same version takes what another copy made', async () => {
  const other = copyOf((_, text) => text);
  const manager = new own.RedisConnectionManager({ url: redis.url, namespace: 'copies' });
  const kv = new other.KVStore(manager);
  await kv.set('k', 1);
  expect(await new own.KVStore(manager).get('k')).toBe(1);
  expect(await other.once(new own.KVStore(manager), 'once', () => 'ran', 1)).toBe('ran');
  const queue = new other.TaskQueue('q', manager);
  const worker = queue.process((job) => job.data, { registry: new own.WorkerRegistry(manager) });
  const job = await queue.add('x', 'done');
  expect(await job.waitUntilFinished()).toBe('done');
  await worker.close();
  await queue.close();
  await manager.disconnect();
});

test('an object of another class is refused by its name', () => {
  const manager = new own.RedisConnectionManager(redis.url);
  expect(() => new own.KVStore(new own.KVStore(manager) as never)).toThrow(
    'KVStore: manager: expected a RedisConnectionManager, got a KVStore',
  );
});
