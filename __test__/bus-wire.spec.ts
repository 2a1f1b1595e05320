/** What the bus does on the wire, and what reaches whom when processes race; on a server of its own. */
import { createTestRedisConfig, MessageBus, RedisConnectionManager } from 'redis-backplane';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { arrive, listenTo } from './support/live-bus.ts';
import { type Child, startProcess } from './support/process.ts';
import type { RedisServer } from './support/redis-server.ts';
import { useRig } from './support/rig.ts';
import { until, within } from './support/until.ts';

const rig = useRig();

/** A process that publishes on each topic it is given through the list `go`, until it is given an empty one. */
async function publisher(server: RedisServer): Promise<Child> {
  const child = startProcess<{ url: string }>(
    async ({ redis, args, emit }) => {
      const manager = new redis.RedisConnectionManager(args.url);
      const bus = new redis.MessageBus(manager);
      emit('ready');
      for (;;) {
        const [, topic] = await manager.command<[string, string]>('BLPOP', 'go', 0);
        if (topic === '-') break;
        emit(await bus.publish(topic, topic));
      }
      await manager.disconnect();
    },
    { args: { url: server.url }, timeoutMs: 110_000 },
  );
  await child.line((line) => line === 'ready');
  return child;
}

describe('a message published by another process right after subscribe() resolved', () => {
  test('arrives, 10 000 times out of 10 000', async () => {
    const server = await rig.server();
    const child = await publisher(server);
    const manager = rig.manager(server.url);
    const bus = new MessageBus(manager);
    const events = listenTo(bus);
    let delivered = 0;
    let resolvers: (() => void)[] = [];
    for (let wave = 0; wave < 100; wave++) {
      const arrived = Array.from({ length: 100 }, (_, n) => new Promise<void>((resolve) => (resolvers[n] = resolve)));
      const ends = await Promise.all(
        arrived.map(async (_, n) => {
          // Half of them on topics that were subscribed and ended a moment before.
          const topic = `race:${n % 2 ? wave : 'again'}:${n}`;
          const end = await bus.subscribe<string>(topic, ({ payload }) => {
            expect(payload).toBe(topic);
            delivered++;
            resolvers[n]?.();
          });
          await manager.command('RPUSH', 'go', topic);
          return end;
        }),
      );
      await within(20_000, Promise.all(arrived), `wave ${wave}, after ${delivered} deliveries`);
      for (const end of ends) void end();
      resolvers = [];
    }
    await manager.command('RPUSH', 'go', '-');
    const { code, lines } = await child.ended;
    expect(code).toBe(0);
    expect(lines.slice(1)).toEqual(Array.from({ length: 10_000 }, () => 1));
    expect(delivered).toBe(10_000);
    expect(events).toEqual({ error: [], malformed: [], 'dead-letter': [], gap: [], slow: [] });
  });
});

describe('subscribers of one topic', () => {
  test.each([2, 100])('%i at once are one SUBSCRIBE on the wire, and each gets every message', async (count) => {
    const server = await rig.server();
    await using monitor = await server.monitor();
    const manager = rig.manager({ url: server.url, namespace: 'app' });
    const buses = [new MessageBus(manager), new MessageBus(manager)];
    const got: number[][] = Array.from({ length: count }, () => []);
    const ends = await Promise.all(
      got.map((list, n) => (buses[n % 2] as MessageBus).subscribe<number>('t', ({ payload }) => void list.push(payload))),
    );
    expect(await (buses[0] as MessageBus).publish('t', 0)).toBe(1);
    for (let n = 1; n < 100; n++) await (buses[n % 2] as MessageBus).publish('t', n);
    for (const list of got) await arrive(list, 100);
    const order = Array.from({ length: 100 }, (_, n) => n);
    for (const list of got) expect(list).toEqual(order);
    await Promise.all(ends.map((end) => end()));
    const seen = async () =>
      (await monitor.commands()).filter(({ name }) => /SUBSCRIBE$/.test(name)).map(({ name, args }) => [name, ...args]);
    await until(async () => (await seen()).length > 1, { what: 'UNSUBSCRIBE' });
    expect(await seen()).toEqual([
      ['SUBSCRIBE', 'app:t'],
      ['UNSUBSCRIBE', 'app:t'],
    ]);
    expect(await (buses[0] as MessageBus).publish('t', 0)).toBe(0);
  });

  test('of a thousand topics share one connection, which closes after the last', async () => {
    const server = await rig.server();
    const manager = rig.manager(server.url);
    const bus = new MessageBus(manager);
    let got = 0;
    const ends = await Promise.all(Array.from({ length: 1_000 }, (_, n) => bus.subscribe(`topic:${n}`, () => void got++)));
    const counts = await Promise.all(Array.from({ length: 1_000 }, (_, n) => bus.publish(`topic:${n}`, n)));
    expect(counts.every((count) => count === 1)).toBe(true);
    await until(() => got === 1_000, { what: () => `1 000 messages; got ${got}` });
    expect((await server.clients()).length).toBe(2);
    await Promise.all(ends.map((end) => end()));
    await until(async () => (await server.clients()).length === 1, { what: 'the connection to close' });
  });
});

describe('sharded topics', () => {
  test('are SPUBLISH and SSUBSCRIBE, with requests too and without patterns', async () => {
    const server = await rig.server();
    await using monitor = await server.monitor();
    const manager = rig.manager(server.url);
    const bus = new MessageBus(manager, { sharded: true });
    const plain = new MessageBus(manager);
    const got: unknown[] = [];
    await bus.subscribe('t', ({ payload }) => void got.push(payload));
    await plain.subscribe('t', () => void got.push('never'));
    expect(await bus.publish('t', 1)).toBe(1);
    await arrive(got, 1);
    await bus.respond('ask', (n: number) => n + 1);
    expect(await bus.request('ask', 1)).toBe(2);
    await expect(bus.psubscribe('t*', () => {})).rejects.toMatchObject({ redisErrorKind: 'config' });
    const names = new Set((await monitor.commands()).map(({ name }) => name).filter((name) => /PUBLISH|SUBSCRIBE/.test(name)));
    expect([...names].sort()).toEqual(['SPUBLISH', 'SSUBSCRIBE', 'SUBSCRIBE']);
    expect(got).toEqual([1]);
  });
});

describe('a process', () => {
  const code = async ({
    redis,
    args,
    emit,
  }: {
    redis: typeof import('redis-backplane');
    args: { url: string; end: string };
    emit(v: unknown): void;
  }) => {
    const manager = new redis.RedisConnectionManager(args.url);
    const bus = new redis.MessageBus(manager);
    const end = await bus.subscribe('t', async () => {
      emit('got');
      if (args.end === 'unsubscribe') await end();
      if (args.end === 'close') await bus.close();
      if (args.end === 'disconnect') await manager.disconnect();
      if (args.end === 'exit') process.exit(3);
    });
    emit('subscribed');
  };

  test.each(['unsubscribe', 'close', 'disconnect', 'exit'])('is kept alive by a live subscription, until %s', async (end) => {
    const server = await rig.server();
    const child = startProcess(code, { args: { url: server.url, end } });
    await child.line((line) => line === 'subscribed');
    const bus = new MessageBus(rig.manager(server.url));
    expect(await bus.publish('t', 1)).toBe(1);
    const { code: exit, lines, stderr } = await child.ended;
    expect([exit, lines, stderr]).toEqual([end === 'exit' ? 3 : 0, ['subscribed', 'got'], '']);
  });
});

describe('fake timers', () => {
  afterEach(() => void vi.useRealTimers());

  test('stop nothing of the bus', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Date', 'performance'] });
    const manager = new RedisConnectionManager(createTestRedisConfig({ url: 'memory://' }));
    const bus = new MessageBus(manager, { closeTimeoutMs: 30 });
    const events = listenTo(bus);
    const iteration = bus.messages<number>('t')[Symbol.asyncIterator]();
    await bus.subscribe('t', () => new Promise<void>(() => {}));
    await bus.publish('t', 1);
    expect((await iteration.next()).value?.payload).toBe(1);
    await bus.respond('ask', (n: number) => n + 1);
    expect(await bus.request('ask', 1)).toBe(2);
    await expect(bus.request('t', 1, { timeoutMs: 30 })).rejects.toMatchObject({ redisErrorKind: 'timeout' });
    await bus.close();
    expect(events.error).toMatchObject([{ topic: 't', error: { redisErrorKind: 'timeout' } }]);
    await manager.disconnect();
  });
});

describe('a worker thread', () => {
  test('that is terminated in a flood of messages takes nothing down', async () => {
    const server = await rig.server();
    const child = startProcess<{ url: string }>(
      async ({ redis, args, require }) => {
        const { Worker } = require('node:worker_threads') as typeof import('node:worker_threads');
        const text = `
          const { workerData, parentPort } = require('node:worker_threads');
          const redis = require(workerData.entry);
          const bus = new redis.MessageBus(new redis.RedisConnectionManager(workerData.url));
          let got = 0;
          bus.subscribe('t', () => { if (++got === 100) parentPort.postMessage('flooded'); });
          bus.psubscribe('*', async () => { await bus.request('t', 1, { timeoutMs: 5 }).catch(() => {}); });`;
        const manager = new redis.RedisConnectionManager(args.url);
        const bus = new redis.MessageBus(manager);
        for (let round = 0; round < 3; round++) {
          const worker = new Worker(text, { eval: true, workerData: { url: args.url, entry: require.resolve('redis-backplane') } });
          let flooded = false;
          worker.once('message', () => {
            flooded = true;
          });
          while (!flooded) await Promise.all(Array.from({ length: 50 }, (_, n) => bus.publish('t', n)));
          await worker.terminate();
        }
        await bus.close();
        await manager.disconnect();
      },
      { args: { url: server.url } },
    );
    const { code, stderr } = await child.ended;
    expect([code, stderr]).toEqual([0, '']);
  });
});
