/** Options that are no plain object: read, or refused by what they are; taken for `{}` they would mean the defaults, in silence. */

import {
  createContainer,
  KVStore,
  MessageBus,
  makeRedisBus,
  RedisConnectionManager,
  RedisError,
  retry,
  shutdownOnSignals,
  TaskQueue,
  WorkerRegistry,
} from 'redis-backplane';
import { afterAll, describe, expect, it } from 'vitest';

const manager = new RedisConnectionManager('memory://');
const kv = new KVStore(manager);
const bus = new MessageBus(manager);
const registry = new WorkerRegistry(manager);
const queue = new TaskQueue('work', manager);
afterAll(() => manager.disconnect());

class OnlyMethods {
  namespace() {
    return 'shop';
  }
}
const strange: [what: string, value: unknown][] = [
  ['a Map', new Map([['namespace', 'shop']])],
  ['a Set', new Set()],
  ['a URL', new URL('redis://h')],
  ['a Date', new Date()],
  ['an array', []],
  ['a Uint8Array', Buffer.from('shop')],
  ['an Error', new Error('shop')],
  ['a Promise', Promise.resolve({})],
  ['an instance of OnlyMethods', new OnlyMethods()],
  ['a function', () => ({})],
  ['a string', 'shop'],
];

const noop = () => undefined;
/** Every place where options are read. */
const places: [place: string, use: (options: never) => unknown][] = [
  ['RedisConnectionManager.reconnect', (options) => new RedisConnectionManager({ reconnect: options })],
  ['KVStore', (options) => new KVStore(manager, options)],
  ['KVStore.update', (options) => kv.update('key', noop as never, options)],
  ['KVStore.getOrSet', (options) => kv.getOrSet('key', noop, options)],
  ['KVStore.lock', (options) => kv.lock('key', options)],
  ['MessageBus', (options) => new MessageBus(manager, options)],
  ['MessageBus.retention', (options) => new MessageBus(manager, { retention: options })],
  ['makeRedisBus', (options) => makeRedisBus(manager, manager, options)],
  ['MessageBus.publish', (options) => bus.publish('topic', 1, options)],
  ['MessageBus.subscribe', (options) => bus.subscribe('topic', noop, options)],
  ['MessageBus.subscribe.retry', (options) => bus.subscribe('topic', noop, { group: 'g', retry: options })],
  ['MessageBus.request', (options) => bus.request('topic', 1, options)],
  ['WorkerRegistry', (options) => new WorkerRegistry(manager, options)],
  ['WorkerRegistry.register', (options) => registry.register(options)],
  ['WorkerRegistry.heartbeat', (options) => registry.heartbeat('id', options)],
  ['WorkerRegistry.list', (options) => registry.list(options)],
  ['WorkerRegistry.claim', (options) => registry.claim(options)],
  ['WorkerRegistry.elect', (options) => registry.elect('role', options)],
  ['TaskQueue', (options) => new TaskQueue('work', manager, options)],
  ['TaskQueue.defaultJobOptions', (options) => new TaskQueue('work', manager, { defaultJobOptions: options })],
  ['TaskQueue.add', (options) => queue.add('job', 1, options)],
  ['TaskQueue.add.backoff', (options) => queue.add('job', 1, { backoff: options })],
  ['TaskQueue.add.children', (options) => queue.add('job', 1, { children: [options] })],
  ['TaskQueue.addBulk', (options) => queue.addBulk([{ name: 'job', data: 1, options }])],
  ['TaskQueue.list', (options) => queue.list('waiting', options)],
  ['TaskQueue.schedule', (options) => queue.schedule('id', options, { name: 'job', data: 1 })],
  ['TaskQueue.process', (options) => queue.process(async () => 1, options)],
  ['TaskQueue.process.rateLimit', (options) => queue.process(async () => 1, { autorun: false, rateLimit: options })],
  ['createContainer', (options) => createContainer(options)],
  ['createContainer.redis', (options) => createContainer({ redis: options })],
  ['createContainer.coordinators', (options) => createContainer({ url: 'memory://', coordinators: options })],
  ['retry', (options) => retry(async () => 1, options)],
  ['shutdownOnSignals', (options) => shutdownOnSignals({ shutdown: async () => {} } as never, options)],
];

async function refusal(use: () => unknown): Promise<RedisError> {
  try {
    await use();
  } catch (error) {
    expect(error).toBeInstanceOf(RedisError);
    return error as RedisError;
  }
  throw new Error('nothing was refused');
}

describe('options that are no plain object', () => {
  // A container takes a URL in place of its options.
  const isTaken = (place: string, what: string): boolean => place === 'createContainer' && ['a URL', 'a string'].includes(what);
  const cases = places.flatMap(([place, use]) =>
    strange.filter(([what]) => !isTaken(place, what)).map(([what, value]) => [place, what, value, use] as const),
  );
  it.each(cases)('are refused by %s, which names %s', async (_place, what, value, use) => {
    const { redisErrorKind, message } = await refusal(() => use(value as never));
    expect(redisErrorKind).toBe('config');
    expect(message).toMatch(new RegExp(`expected .*got ${what}`));
  });

  it('are read where they have members: getters, inherited ones, and none of Object.prototype', async () => {
    class Options {
      get namespace() {
        return 'shop';
      }
    }
    class Heir extends Options {}
    const bare = Object.assign(Object.create(null), { namespace: 'shop' });
    const inherited = Object.create({ namespace: 'shop' });
    for (const options of [new Options(), new Heir(), bare, inherited]) {
      await new KVStore(manager, options).set('key', 1);
      expect(await manager.command('KEYS', '*')).toEqual(['shop:key']);
      await manager.command('FLUSHALL');
    }
    class Later {
      get delayMs() {
        return 60_000;
      }
    }
    expect(await queue.add('job', 1, new Later())).toMatchObject({ state: 'delayed' });
  });

  it('whose getter throws are refused by the name of the option, with the cause', async () => {
    const cause = new Error('no vault');
    class Options {
      get namespace(): string {
        throw cause;
      }
    }
    const error = await refusal(() => new KVStore(manager, new Options()));
    expect(error).toMatchObject({ redisErrorKind: 'config', message: expect.stringContaining('namespace'), cause });
  });
});

describe('a bus on two managers', () => {
  it('is refused where what one publishes the other would never hear', () => {
    const one = new RedisConnectionManager({ url: 'memory://two', namespace: 'a' });
    for (const other of [{ namespace: 'b' }, {}, { namespace: 'a', db: 1 }]) {
      const subscriber = new RedisConnectionManager({ url: 'memory://two', ...other });
      expect(() => new MessageBus(one, { subscriber })).toThrow(
        /MessageBus\.subscriber: expected a manager of the same (namespace|database)/,
      );
      expect(() => makeRedisBus(one, subscriber)).toThrow(/MessageBus\.subscriber/);
    }
    const same = new RedisConnectionManager({ url: 'memory://two', namespace: 'a' });
    expect(makeRedisBus(one, same)).toBeInstanceOf(MessageBus);
  });
});
