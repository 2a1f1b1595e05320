/** Requests and replies, on every backend. */
import {
  correlation,
  createEnvelope,
  MessageBus,
  type RedisConnectionManager,
  RedisError,
  ResponderError,
  withCorrelation,
} from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { gate, listenTo, type Seen } from '../support/live-bus.ts';
import { stretched } from '../support/starvation.ts';
import { until, within } from '../support/until.ts';

describeBackends('requests', (backend) => {
  let manager: RedisConnectionManager;
  let bus: MessageBus;
  let server: MessageBus;
  let events: Seen;

  beforeEach(() => {
    manager = backend.manager();
    bus = new MessageBus(manager);
    server = new MessageBus(backend.manager());
    events = listenTo(server);
  });

  test('get what the responder gives, each its own, however many at once', async () => {
    await server.respond<number, { double: number }>('double', async (n) => {
      if (n % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      return { double: n * 2 };
    });
    const replies = await Promise.all(Array.from({ length: 500 }, (_, n) => bus.request<number, { double: number }>('double', n)));
    expect(replies).toEqual(Array.from({ length: 500 }, (_, n) => ({ double: n * 2 })));
  });

  test('null, texts, undefined and hostile values come back as JSON makes them', async () => {
    await server.respond('echo', (payload) => payload);
    for (const value of [null, '', 0, false, [], { a: [{}] }, '\ud800 }"{', JSON.parse('{"__proto__":{"x":1}}')]) {
      expect(await bus.request('echo', value)).toEqual(value);
    }
    await server.respond('void', () => undefined);
    expect(await bus.request('void', 1)).toBeNull();
  });

  test('that nobody responds to reject at once', async () => {
    const began = performance.now();
    const error = await failureOf(bus.request('nobody', 1, { timeoutMs: 60_000 }));
    expect([error.redisErrorKind, error.delivery, error.message]).toEqual([
      'connection',
      'rejected',
      'request: nobody responds on this topic',
    ]);
    expect(performance.now() - began).toBeLessThan(stretched(5_000));
  });

  test('without a reply reject with kind timeout at their deadline', async () => {
    await server.subscribe('listener', () => {});
    await server.respond('never', () => new Promise(() => {}));
    for (const topic of ['listener', 'never']) {
      const error = await failureOf(bus.request(topic, 1, { timeoutMs: 60 }));
      expect([error.redisErrorKind, error.delivery]).toEqual(['timeout', 'maybe-executed']);
    }
  });

  test('with a signal end with kind cancelled', async () => {
    await server.respond('never', () => new Promise(() => {}));
    const controller = new AbortController();
    const waiting = failureOf(bus.request('never', 1, { signal: controller.signal }));
    await bus.request('never', 1, { timeoutMs: 30 }).catch(() => {});
    controller.abort('why');
    const error = await waiting;
    expect([error.redisErrorKind, error.cause]).toEqual(['cancelled', 'why']);
    expect((await failureOf(bus.request('never', 1, { signal: controller.signal }))).redisErrorKind).toBe('cancelled');
  });

  test('are told the error of the responder, as a typed one, and the responder hears of it too', async () => {
    class OrderNotFound extends Error {
      override readonly name = 'OrderNotFound';
      readonly code = 'E_ORDER';
    }
    const errors = [new OrderNotFound('no order 7'), new TypeError('bad'), 'a string', null, new RedisError('lease-lost', 'gone')];
    await server.respond<number, never>('fails', (n) => {
      throw errors[n];
    });
    const got = await Promise.all(errors.map((_, n) => failureOf(bus.request('fails', n))));
    for (const error of got) {
      expect(error).toBeInstanceOf(ResponderError);
      expect(error).toBeInstanceOf(RedisError);
      expect(error.redisErrorKind).toBe('server');
    }
    const seen = (got as ResponderError[]).map(({ message, remoteName, remoteCode }) => [remoteName, message, remoteCode]);
    expect(seen).toEqual([
      ['OrderNotFound', 'no order 7', 'E_ORDER'],
      ['TypeError', 'bad', undefined],
      ['Error', 'a string', undefined],
      ['Error', 'null', undefined],
      ['RedisError', 'gone', 'ERR_REDIS_LEASE_LOST'],
    ]);
    expect(new RedisError('server', 'x')).not.toBeInstanceOf(ResponderError);
    await until(() => events.error.length === errors.length, { what: 'the events' });
    expect(events.error[0]).toMatchObject({ topic: 'fails', error: errors[0] });
  });

  test('whose reply JSON cannot express get an error', async () => {
    await server.respond('big', () => 10n as never);
    const error = (await failureOf(bus.request('big', 1))) as ResponderError;
    expect([error.remoteName, error.remoteCode]).toEqual(['RedisError', 'ERR_REDIS_SERIALIZATION']);
  });

  test('carry correlation and tenant to the responder, and on into what it publishes', async () => {
    await server.respond<string, unknown>('who', (_, envelope) => {
      return { envelope: [envelope.corrId, envelope.tenantId], scope: correlation(), made: createEnvelope('kind', 1).corrId };
    });
    const reply = await withCorrelation({ corrId: 'corr', tenantId: 'tenant' }, () => bus.request('who', 1));
    expect(reply).toEqual({ envelope: ['corr', 'tenant'], scope: { corrId: 'corr', tenantId: 'tenant' }, made: 'corr' });
  });

  test('take the first of several replies, and one channel for all of them', async () => {
    const { opened, open } = gate();
    await server.respond('race', () => 'fast');
    const slow = new MessageBus(backend.manager());
    await slow.respond('race', async () => {
      await opened;
      return 'slow';
    });
    expect(await bus.request('race', 1)).toBe('fast');
    open();
    expect(await bus.request('race', 2)).toBeDefined();
    const channels = await manager.command<string[]>('PUBSUB', 'CHANNELS', `${backend.namespace}:~reply:*`);
    expect(channels.length).toBe(1);
  });

  test('a responder gets requests only, and one that names no channel of ours gets no reply', async () => {
    const got: unknown[] = [];
    await server.respond('ask', (payload) => void got.push(payload));
    await bus.publish('ask', 'a plain message');
    const forged = JSON.stringify({ reply: 'x:y', msg: createEnvelope('k', 'forged') });
    await manager.command('PUBLISH', `${backend.namespace}:ask`, forged);
    await bus.request('ask', 'a request');
    expect(got).toEqual(['forged', 'a request']);
    await until(() => events.error.length === 1, { what: 'the error' });
    expect(events.error[0]).toMatchObject({ topic: 'ask', error: { redisErrorKind: 'config' } });
  });

  test('replies that are none are refused, and leave later ones alone', async () => {
    const channel = async () => ((await manager.command('PUBSUB', 'CHANNELS', `${backend.namespace}:~reply:*`)) as string[])[0] as string;
    await server.subscribe<number>('ask', async ({ id, payload }) => {
      const other = backend.manager({ namespace: undefined });
      const texts = [`{"re":"${id}"}`, `{"re":"${id}","msg":5}`, `{"re":"${id}","msg":`, `{"re":"${id}","error":{}}`];
      for (const text of ['garbage', '{"re":5}', '{"re":"unknown","msg":{"payload":1}}', texts[payload] as string]) {
        await other.command('PUBLISH', await channel(), text);
      }
    });
    for (const n of [0, 1, 2]) expect((await failureOf(bus.request('ask', n))).redisErrorKind).toBe('serialization');
    expect((await failureOf(bus.request('ask', 3))).redisErrorKind).toBe('server');
    await server.respond('fine', () => 'fine');
    expect(await bus.request('fine', 1)).toBe('fine');
  });

  test('wait no longer when the bus is closed', async () => {
    await server.respond('never', () => new Promise(() => {}));
    const waiting = failureOf(bus.request('never', 1));
    await bus.request('never', 1, { timeoutMs: 30 }).catch(() => {});
    await bus.close();
    expect((await within(2_000, waiting)).redisErrorKind).toBe('closed');
  });

  test('wrong options are refused with kind config, a payload JSON cannot express with kind serialization', async () => {
    for (const options of [{ timeoutMs: 0 }, { timeoutMs: Number.NaN }, { timeoutMs: '5' }, { timeout: 5 }, { signal: 5 }, 5]) {
      expect((await failureOf(bus.request('t', 1, options as never))).redisErrorKind).toBe('config');
    }
    expect((await failureOf(bus.request('t', undefined))).redisErrorKind).toBe('serialization');
    expect((await failureOf(bus.respond('t', 5 as never))).redisErrorKind).toBe('config');
  });
});
