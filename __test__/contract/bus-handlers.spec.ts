/** How handlers are run, and how subscriptions end, on every backend. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { correlation, createEnvelope, type Envelope, MessageBus, type RedisConnectionManager, withCorrelation } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { arrive, collectFrom, gate, listenTo, type Seen } from '../support/live-bus.ts';
import { until, within } from '../support/until.ts';

const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

describeBackends('handlers of live messages', (backend) => {
  let manager: RedisConnectionManager;
  let bus: MessageBus;
  let events: Seen;

  beforeEach(() => {
    manager = backend.manager();
    bus = new MessageBus(manager);
    events = listenTo(bus);
  });

  const collect = <T>(topic: string, from: MessageBus = bus) => collectFrom<T>(from, topic);
  /** Publishes bytes as another program would. */
  const raw = (topic: string, payload: string | Buffer) => manager.command<number>('PUBLISH', `${backend.namespace}:${topic}`, payload);

  describe('handlers', () => {
    test('of one topic each get every message, in order, and an object of their own', async () => {
      const handlers = 5;
      const got: Envelope<{ n: number }>[][] = Array.from({ length: handlers }, () => []);
      for (const list of got) {
        await bus.subscribe<{ n: number }>('t', (message) => {
          list.push(structuredClone(message));
          message.payload.n = -1;
          message.id = 'changed';
        });
      }
      await Promise.all(Array.from({ length: 300 }, (_, n) => bus.publish('t', { n })));
      await raw('t', '{"n":300}');
      for (const list of got) await arrive(list, 301);
      for (const list of got) expect(list.map(({ payload }) => payload.n)).toEqual(Array.from({ length: 301 }, (_, n) => n));
      // An envelope that was made for a foreign message is the same for all.
      expect(new Set(got.map((list) => list[300]?.id)).size).toBe(1);
    });

    test('that throw, reject, give a hostile thenable or never end affect nobody else', async () => {
      const good = await collect('t');
      await bus.subscribe('t', () => {
        throw new TypeError('thrown');
      });
      await bus.subscribe('t', async () => {
        throw 'rejected';
      });
      // biome-ignore lint/suspicious/noThenProperty: hostile on purpose
      await bus.subscribe('t', () => ({ then: (_: unknown, reject: (e: unknown) => void) => reject(new Error('thenable')) }) as never);
      await bus.subscribe(
        't',
        () =>
          Object.defineProperty({}, 'then', {
            get: () => {
              throw new Error('getter');
            },
          }) as never,
      );
      await bus.subscribe('t', () => new Promise<void>(() => {}));
      bus.on('error', () => {
        throw new Error('a listener too');
      });
      // Without a form as text.
      bus.on('error', () => {
        throw Object.create(null);
      });
      const warned: string[] = [];
      const hear = (warning: Error) => void warned.push(warning.message);
      process.on('warning', hear);
      const envelope = createEnvelope('kind', 1, 'corr');
      await bus.publish('t', envelope);
      await bus.publish('t', envelope);
      await arrive(good, 2);
      await until(() => events.error.length === 8, { what: () => `8 errors; got ${events.error.length}` });
      for (const event of events.error) expect(event).toMatchObject({ topic: 't', envelopeId: envelope.id, corrId: 'corr' });
      const said = events.error.map(({ error }) => (error instanceof Error ? error.message : error));
      expect([...new Set(said)].sort()).toEqual(['getter', 'rejected', 'thenable', 'thrown']);
      await until(() => manager.metrics().redis_bus_handler_errors_total === 8, { what: 'the count' });
      await until(() => warned.includes('a listener too') && warned.includes('an error that cannot be shown'), { what: 'the warnings' });
      process.off('warning', hear);
      // The one that never ends is not waited for: nobody needs it any more once the test is over.
      expect(await bus.publish('t', 1)).toBe(1);
    });

    test('are started in order of arrival, at once, unless concurrency says how many', async () => {
      const { opened, open } = gate();
      const started: Record<string, number[]> = { all: [], two: [] };
      const running = { all: 0, two: 0, most: 0 };
      await bus.subscribe<number>('t', async ({ payload }) => {
        started.all?.push(payload);
        running.all++;
        await opened;
      });
      await bus.subscribe<number>(
        't',
        async ({ payload }) => {
          started.two?.push(payload);
          running.two++;
          running.most = Math.max(running.most, running.two);
          await opened;
          running.two--;
        },
        { concurrency: 2 },
      );
      await Promise.all(Array.from({ length: 50 }, (_, n) => bus.publish('t', n)));
      await until(() => running.all === 50, { what: 'all to be in hand' });
      expect(started.two).toEqual([0, 1]);
      open();
      await until(() => started.two?.length === 50, { what: 'the rest' });
      expect(running.most).toBe(2);
      const order = Array.from({ length: 50 }, (_, n) => n);
      expect(started).toEqual({ all: order, two: order });
    });

    test('past maxPending lose the oldest that wait; slow says how many, and they are counted', async () => {
      const { opened, open } = gate();
      const got: number[] = [];
      await bus.subscribe<number>(
        't',
        async ({ payload }) => {
          got.push(payload);
          await opened;
        },
        { concurrency: 1, maxPending: 5 },
      );
      for (let n = 0; n < 100; n++) await bus.publish('t', n);
      await until(() => events.slow.reduce((sum, { dropped }) => sum + dropped, 0) === 94, {
        what: () => `94 drops: ${JSON.stringify(events.slow)}`,
      });
      await until(() => manager.metrics().redis_bus_dropped_total === 94, { what: 'the count' });
      open();
      await until(() => got.length === 6, { what: () => `6 messages; got ${got}` });
      expect(got).toEqual([0, 95, 96, 97, 98, 99]);
      expect(events.slow.every(({ topic }) => topic === 't')).toBe(true);
    });

    test('past maxPendingBytes too, but one message may be larger', async () => {
      const { opened, open } = gate();
      const got: string[] = [];
      await bus.subscribe<string>(
        't',
        async ({ payload }) => {
          got.push(payload.slice(0, 1));
          await opened;
        },
        { concurrency: 1, maxPendingBytes: 1_000 },
      );
      for (const letter of ['a', 'b', 'c']) await bus.publish('t', letter.repeat(5_000));
      await until(() => events.slow.length > 0, { what: 'slow' });
      open();
      await until(() => got.length === 2, { what: 'both' });
      expect(got).toEqual(['a', 'c']);
    });

    test('without concurrency have at most maxPending in hand', async () => {
      const { opened, open } = gate();
      let running = 0;
      await bus.subscribe(
        't',
        async () => {
          running++;
          await opened;
        },
        { maxPending: 10 },
      );
      for (let n = 0; n < 100; n++) await bus.publish('t', n);
      await until(() => events.slow.reduce((sum, { dropped }) => sum + dropped, 0) === 80, { what: '80 drops' });
      expect(running).toBe(10);
      open();
      await until(() => running === 20, { what: 'those that waited' });
    });

    test('run in the AsyncLocalStorage contexts of their subscription, each message apart', async () => {
      const own = new AsyncLocalStorage<string>();
      const seen: (string | undefined)[] = [];
      const { opened, open } = gate();
      const subscribe = (name: string) =>
        own.run(name, () =>
          bus.subscribe('t', async () => {
            seen.push(own.getStore());
            own.enterWith('left behind');
            await opened;
            seen.push(own.getStore());
          }),
        );
      await subscribe('one');
      await subscribe('two');
      await own.run('publisher', () => Promise.all([bus.publish('t', 1), bus.publish('t', 2)]));
      await arrive(seen, 4);
      expect(seen.sort()).toEqual(['one', 'one', 'two', 'two']);
      open();
      await arrive(seen, 8);
      expect(seen.filter((name) => name === 'left behind').length).toBe(4);
      expect(own.getStore()).toBeUndefined();
    });

    test('publish with the correlation, tenant and trace of the message in hand', async () => {
      const got = await collect('second');
      await bus.subscribe('first', async () => {
        await new Promise((resolve) => setImmediate(resolve));
        expect(correlation()).toEqual({ corrId: 'corr', tenantId: 'tenant', traceparent: TRACE });
        await bus.publish('second', 'inherits');
        await bus.publish('second', createEnvelope('kind', 'inherits too'));
        await bus.publish('second', createEnvelope('kind', 'its own', 'other', 'else'));
      });
      await bus.publish('first', createEnvelope('kind', 1, 'corr', 'tenant'), { traceparent: TRACE });
      await arrive(got, 3);
      expect(got.map(([{ payload, corrId, tenantId, traceparent }]) => [payload, corrId, tenantId, traceparent])).toEqual([
        ['inherits', 'corr', 'tenant', TRACE],
        ['inherits too', 'corr', 'tenant', TRACE],
        ['its own', 'other', 'else', TRACE],
      ]);
      expect(events.error).toEqual([]);
      expect(correlation()).toBeUndefined();
      const given = withCorrelation({ corrId: 'from outside' }, () => createEnvelope('kind', 1));
      expect([given.corrId, given.tenantId]).toEqual(['from outside', undefined]);
    });
  });

  describe('subscribe', () => {
    test('refuses a handler that is no function, and wrong options, with kind config', async () => {
      expect((await failureOf(bus.subscribe('t', 'handler' as never))).message).toContain('handler: expected a function');
      const wrong: [string, object][] = [
        ['concurency', { concurency: 1 }],
        ['concurrency', { concurrency: 0 }],
        ['concurrency', { concurrency: 1.5 }],
        ['maxPending', { maxPending: -1 }],
        ['maxPending', { maxPending: Number.NaN }],
        ['maxPendingBytes', { maxPendingBytes: '1' }],
        ['signal', { signal: {} }],
        ['from', { from: 'start' }],
        ['retry', { retry: {} }],
        ['claimAfterMs', { claimAfterMs: 1 }],
        ['maxPending', { group: 'g', maxPending: 1 }],
      ];
      for (const [name, options] of wrong) {
        const error = await failureOf(bus.subscribe('t', () => {}, options));
        expect([error.redisErrorKind, error.message]).toEqual(['config', expect.stringContaining(`MessageBus.subscribe.${name}`)]);
      }
      expect((await failureOf(bus.psubscribe('t', () => {}, { group: 'g' } as never))).redisErrorKind).toBe('config');
      expect(() => new MessageBus(manager, { nmaespace: 'x' } as never)).toThrow(/MessageBus.nmaespace/);
      expect(() => new MessageBus(manager, { namespace: '~x' })).toThrow(/namespace/);
      expect(() => new MessageBus({} as never)).toThrow(/a RedisConnectionManager/);
      expect(() => bus.on('eror' as never, () => {})).toThrow(/event/);
      expect(() => bus.on('error', 1 as never)).toThrow(/a function/);
      expect(manager.metrics().redis_bus_subscriptions).toBe(0);
    });

    test('with a signal ends when that is aborted, and rejects if it is before it is confirmed', async () => {
      const [before, during, after] = [new AbortController(), new AbortController(), new AbortController()];
      before.abort('why');
      const refused = await failureOf(bus.subscribe('t', () => {}, { signal: before.signal }));
      expect([refused.redisErrorKind, refused.cause]).toEqual(['cancelled', 'why']);
      const pending = failureOf(bus.subscribe('t', () => {}, { signal: during.signal }));
      during.abort();
      expect((await pending).redisErrorKind).toBe('cancelled');
      const got: unknown[] = [];
      await bus.subscribe('t', ({ payload }, { signal }) => void got.push([payload, signal.aborted]), { signal: after.signal });
      await bus.publish('t', 1);
      await arrive(got, 1);
      after.abort();
      await until(async () => (await bus.publish('t', 2)) === 0, { what: 'the end on the server' });
      expect(got).toEqual([[1, false]]);
      expect(manager.metrics().redis_bus_subscriptions).toBe(0);
    });

    test('a subscription that ends leaves the others of its topic', async () => {
      const one = await collect('t');
      const two: unknown[] = [];
      const unsubscribe = await bus.subscribe('t', (message) => void two.push(message));
      await bus.publish('t', 1);
      await arrive(two, 1);
      await unsubscribe();
      await bus.publish('t', 2);
      await arrive(one, 2);
      expect(two.length).toBe(1);
      const again = await collect('t');
      await bus.publish('t', 3);
      await arrive(again, 1);
      expect(one.length).toBe(3);
    });

    test('one that ends and begins again at once misses nothing', async () => {
      for (let round = 0; round < 30; round++) {
        const got: unknown[] = [];
        const unsubscribe = await bus.subscribe('t', (message) => void got.push(message));
        await bus.publish('t', round);
        await arrive(got, 1);
        void unsubscribe();
      }
      await until(() => manager.metrics().redis_bus_subscriptions === 0, { what: 'the last one to end' });
    });
  });

  describe('unsubscribe', () => {
    test('resolves when the handlers that run have ended, starts no other, aborts their signal, and is idempotent', async () => {
      const { opened, open } = gate();
      const got: unknown[] = [];
      let signal: AbortSignal | undefined;
      const unsubscribe = await bus.subscribe<number>(
        't',
        async ({ payload }, context) => {
          signal = context.signal;
          got.push(payload);
          await opened;
          got.push('ended');
        },
        { concurrency: 1 },
      );
      for (let n = 0; n < 10; n++) await bus.publish('t', n);
      await arrive(got, 1);
      let resolved = 0;
      const both = [unsubscribe(), unsubscribe(), unsubscribe[Symbol.asyncDispose]()].map((end) => end.then(() => resolved++));
      await until(() => signal?.aborted, { what: 'the signal' });
      await manager.ping();
      expect(resolved).toBe(0);
      open();
      await within(2_000, Promise.all(both));
      expect(got).toEqual([0, 'ended']);
      await unsubscribe();
    });

    test('called from inside its own handlers does not wait for those', async () => {
      const ended: number[] = [];
      let unsubscribe = async (): Promise<void> => {};
      unsubscribe = await bus.subscribe<number>('t', async ({ payload }) => {
        if (payload < 2) return;
        await Promise.resolve();
        await unsubscribe();
        ended.push(payload);
      });
      await Promise.all([2, 3, 4].map((n) => bus.publish('t', n)));
      await within(
        2_000,
        until(() => ended.length > 0, { what: 'the handlers to end' }),
      );
      await within(2_000, unsubscribe());
      expect(ended.length).toBeGreaterThan(0);
    });

    test('of a handler that never ends resolves after closeTimeoutMs, and says so', async () => {
      const impatient = new MessageBus(manager, { closeTimeoutMs: 50 });
      const told = listenTo(impatient);
      let started = false;
      const unsubscribe = await impatient.subscribe('t', () => {
        started = true;
        return new Promise<void>(() => {});
      });
      await bus.publish('t', 1);
      await until(() => started, { what: 'the handler to run' });
      await within(2_000, unsubscribe());
      expect(told.error).toMatchObject([{ topic: 't', error: { redisErrorKind: 'timeout' } }]);
    });
  });

  describe('close', () => {
    test('ends everything, waits for what runs, lets that publish, and refuses the rest with kind closed', async () => {
      const { opened, open } = gate();
      const got = await collect('answer', new MessageBus(manager));
      let started = false;
      await bus.subscribe('t', async () => {
        started = true;
        await opened;
        await bus.publish('answer', 'while closing');
      });
      await bus.publish('t', 1);
      await until(() => started, { what: 'the handler to run' });
      const closed = Promise.all([bus.close(), bus.close(), bus[Symbol.asyncDispose]()]);
      for (const call of [
        () => bus.publish('t', 1),
        () => bus.subscribe('t', () => {}),
        () => bus.psubscribe('t', () => {}),
        () => bus.request('t', 1),
        () => bus.respond('t', () => 1),
        () => bus.ready(),
      ]) {
        expect((await failureOf(call())).redisErrorKind).toBe('closed');
      }
      open();
      await within(2_000, closed);
      await arrive(got, 1);
      expect(events.error).toEqual([]);
      await bus.close();
      expect(manager.state).toBe('ready');
      expect(manager.metrics().redis_bus_subscriptions).toBe(1);
    });

    test('from inside a handler does not wait for that', async () => {
      let done = false;
      await bus.subscribe('t', async () => {
        await bus.close();
        done = true;
      });
      await bus.publish('t', 1);
      await until(() => done, { what: 'the handler to end' });
      expect(events.error).toEqual([]);
    });

    test('a manager that is disconnected ends its subscriptions, and can be used again', async () => {
      await collect('t');
      const iteration = bus.messages('t')[Symbol.asyncIterator]();
      const next = iteration.next();
      await bus.ready();
      await manager.disconnect();
      expect(await within(2_000, next)).toEqual({ done: true, value: undefined });
      expect((await failureOf(bus.ready())).redisErrorKind).toBe('closed');
      await manager.connect();
      const got = await collect('t');
      await bus.publish('t', 1);
      await arrive(got, 1);
      expect(manager.metrics().redis_bus_subscriptions).toBe(1);
    });
  });
});
