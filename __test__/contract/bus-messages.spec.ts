/** Live messages as an async iterator, on every backend. */
import { MessageBus, type RedisConnectionManager } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { listenTo, type Seen } from '../support/live-bus.ts';
import { until, within } from '../support/until.ts';

describeBackends('messages()', (backend) => {
  let manager: RedisConnectionManager;
  let bus: MessageBus;
  let events: Seen;

  beforeEach(() => {
    manager = backend.manager();
    bus = new MessageBus(manager);
    events = listenTo(bus);
  });

  const begin = (topic = 't', options = {}) => bus.messages<number>(topic, options)[Symbol.asyncIterator]();
  const ended = () => until(async () => (await bus.publish('t', -1)) === 0, { what: 'the subscription to end on the server' });

  test('gives every message published after ready(), in order, and unsubscribes when the loop is left', async () => {
    const got: number[] = [];
    const loop = (async () => {
      for await (const { payload } of bus.messages<number>('t')) {
        got.push(payload);
        if (payload === 99) break;
      }
    })();
    await bus.ready();
    await Promise.all(Array.from({ length: 200 }, (_, n) => bus.publish('t', n)));
    await within(5_000, loop);
    expect(got).toEqual(Array.from({ length: 100 }, (_, n) => n));
    await ended();
    expect(manager.metrics().redis_bus_subscriptions).toBe(0);
  });

  test('opens nothing until it is iterated, and each iteration is one of its own', async () => {
    const messages = bus.messages<number>('t');
    await manager.connect();
    expect(await bus.publish('t', 0)).toBe(0);
    const [one, two] = [messages[Symbol.asyncIterator](), messages[Symbol.asyncIterator]()];
    await bus.ready();
    await bus.publish('t', 1);
    expect([(await one.next()).value?.payload, (await two.next()).value?.payload]).toEqual([1, 1]);
    await one.return?.();
    await bus.publish('t', 2);
    expect((await two.next()).value?.payload).toBe(2);
    await two.return?.();
  });

  test('calls of next() that wait are answered in order, and by return() at the end', async () => {
    const iteration = begin();
    const waiting = [iteration.next(), iteration.next(), iteration.next(), iteration.next()];
    await bus.ready();
    await Promise.all([1, 2].map((n) => bus.publish('t', n)));
    expect((await waiting[0])?.value?.payload).toBe(1);
    expect((await waiting[1])?.value?.payload).toBe(2);
    await iteration.return?.();
    expect(await waiting[2]).toEqual({ done: true, value: undefined });
    expect(await waiting[3]).toEqual({ done: true, value: undefined });
    expect(await iteration.next()).toEqual({ done: true, value: undefined });
    await ended();
  });

  test('an aborted signal ends it, also one that is aborted before', async () => {
    const controller = new AbortController();
    const iteration = begin('t', { signal: controller.signal });
    const next = iteration.next();
    await bus.ready();
    controller.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(await begin('t', { signal: controller.signal }).next()).toEqual({ done: true, value: undefined });
    await ended();
  });

  test('what waits between two steps is bounded: the oldest goes, and slow says so', async () => {
    const iteration = begin('t', { maxPending: 10 });
    await bus.ready();
    for (let n = 0; n < 100; n++) await bus.publish('t', n);
    await until(() => events.slow.reduce((sum, { dropped }) => sum + dropped, 0) === 90, {
      what: () => `90 drops: ${JSON.stringify(events.slow)}`,
    });
    const got: unknown[] = [];
    for (let n = 0; n < 10; n++) got.push((await iteration.next()).value?.payload);
    expect(got).toEqual([90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
    await iteration.return?.();
  });

  test('what is no JSON is left out and told', async () => {
    const iteration = begin();
    await bus.ready();
    await manager.command('PUBLISH', `${backend.namespace}:t`, 'garbage');
    await bus.publish('t', 1);
    expect((await iteration.next()).value?.payload).toBe(1);
    expect(events.malformed).toEqual([{ topic: 't', bytes: 7 }]);
    await iteration.return?.();
  });

  test('close() ends it', async () => {
    const next = begin().next();
    await bus.ready();
    await bus.close();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(() => bus.messages('t')).toThrow(/closed/);
  });

  test('a subscription that is refused is thrown by next(), once', async () => {
    const broken = new MessageBus(backend.manager({ url: 'redis://127.0.0.1:1', commandTimeoutMs: 200 }));
    const iteration = broken.messages('t')[Symbol.asyncIterator]();
    expect(['timeout', 'connection']).toContain((await failureOf(iteration.next())).redisErrorKind);
    expect(await iteration.next()).toEqual({ done: true, value: undefined });
  });

  test('wrong options are refused with kind config', () => {
    for (const options of [{ maxPending: 0 }, { group: 'g' }, { concurrency: 1 }, { nonsense: 1 }, { signal: 1 }]) {
      expect(() => bus.messages('t', options as never)).toThrow(expect.objectContaining({ redisErrorKind: 'config' }));
    }
  });
});
