/** What is published and what of it arrives, on every backend. */
import {
  createEnvelope,
  type Envelope,
  isEnvelope,
  MessageBus,
  type MessageContext,
  makeRedisBus,
  type RedisConnectionManager,
} from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { arrive, collectFrom, listenTo, type Seen } from '../support/live-bus.ts';
import { until } from '../support/until.ts';

describeBackends('live messages', (backend) => {
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

  describe('publish', () => {
    test('gives how many live subscriptions of the server have it', async () => {
      expect(await bus.publish('t', 1)).toBe(0);
      const [one, two] = [new MessageBus(backend.manager()), new MessageBus(backend.manager())];
      await one.subscribe('t', () => {});
      await two.subscribe('t', () => {});
      await two.psubscribe('t*', () => {});
      expect(await bus.publish('t', 1)).toBe(3);
    });

    test('wraps a bare value in an envelope whose type is the topic', async () => {
      const got = await collect('orders.created');
      for (const value of [null, 0, false, '', 'text', [], { a: { b: [1] } }]) {
        await bus.publish('orders.created', value);
        await arrive(got, 1);
        const [[message]] = got.splice(0) as [[Envelope, MessageContext]];
        expect(isEnvelope(message)).toBe(true);
        expect(message).toMatchObject({ type: 'orders.created', payload: value, attempts: 0, corrId: message.id });
        expect(Math.abs(Date.parse(message.ts) - Date.now())).toBeLessThan(60_000);
      }
    });

    test('leaves an envelope as it is, what it has beyond its fields too', async () => {
      const got = await collect('t');
      const envelope = { ...createEnvelope('kind', { n: 1 }, 'corr', 'tenant'), attempts: 3, lastError: 'why', extra: [1] };
      await bus.publish('t', envelope, { key: 'k' });
      await arrive(got, 1);
      expect(got[0]?.[0]).toEqual(envelope);
      expect(got[0]?.[1]).toMatchObject({ topic: 't', key: 'k', attempt: 4 });
    });

    test('writes {"key"?,"msg":Envelope} to the channel <namespace>:<topic>', async () => {
      const seen: string[] = [];
      const other = new MessageBus(backend.manager({ namespace: undefined }));
      await other.subscribe(`${backend.namespace}:t`, (message) => void seen.push(JSON.stringify(message)));
      const envelope = createEnvelope('kind', 'x', 'c');
      await bus.publish('t', envelope, { key: 'k' });
      await arrive(seen, 1);
      expect(JSON.parse(seen[0] as string)).toEqual(envelope);
    });

    test.each([
      ['an empty topic', ''],
      ['an over-long topic', 'x'.repeat(1025)],
      ['a megabyte of topic', 'x'.repeat(1 << 20)],
      ['a topic with a line break', 'a\r\nb'],
      ['a topic with NUL', 'a\0b'],
      ['a topic of ours', '~reply:x'],
      ['a topic with a part of ours', 'a:~b'],
      ['a lone surrogate', 'a\ud800b'],
      ['a number', 5],
      ['nothing', undefined],
    ])('%s is refused with kind config, by every method', async (_, topic) => {
      const bad = topic as string;
      for (const call of [
        () => bus.publish(bad, 1),
        () => bus.subscribe(bad, () => {}),
        () => bus.psubscribe(bad, () => {}),
        () => bus.request(bad, 1),
        () => bus.respond(bad, () => 1),
        async () => bus.messages(bad)[Symbol.asyncIterator]().next(),
      ]) {
        expect(await failureOf(call())).toMatchObject({
          redisErrorKind: 'config',
          message: expect.stringMatching(/: (topic|pattern): expected/),
        });
      }
    });

    test('a key with a lone surrogate is refused by name', async () => {
      const error = await failureOf(bus.publish('t', 1, { key: 'k\ud800' }));
      expect(error).toMatchObject({ redisErrorKind: 'config', message: expect.stringContaining('MessageBus.publish: key: expected') });
    });

    test('a payload that JSON cannot express is refused with kind config, and nothing is published', async () => {
      const got = await collect('t');
      const loop: unknown[] = [];
      loop.push(loop);
      for (const payload of [
        undefined,
        () => 1,
        Symbol('s'),
        10n,
        Number.NaN,
        Number.POSITIVE_INFINITY,
        loop,
        { toJSON: () => undefined },
      ]) {
        const error = await failureOf(bus.publish('t', payload));
        expect([error.redisErrorKind, error.message]).toEqual([
          'serialization',
          expect.stringContaining('MessageBus.publish: payload: expected'),
        ]);
      }
      await bus.publish('t', 'last');
      await arrive(got, 1);
      expect(got.map(([message]) => message.payload)).toEqual(['last']);
    });

    test('an unknown option, and one of the wrong type, are refused', async () => {
      const wrong: [string, unknown][] = [
        ['keys', { keys: 'a' }],
        ['key', { key: '' }],
        ['durable', { durable: 'yes' }],
        ['traceparent', { traceparent: 'no' }],
        ['options', 5],
      ];
      for (const [name, options] of wrong) {
        const error = await failureOf(bus.publish('t', 1, options as never));
        expect(error.redisErrorKind).toBe('config');
        expect(error.message).toContain(name);
      }
    });
  });

  describe('topics', () => {
    test.each(['{a}', '*', '[a-z]?', 'ä€🙂', ' ', 'a:b:c', '}{', '\\', 'x'.repeat(1024)])(
      '%j is one topic and matches no other',
      async (topic) => {
        const got = await collect(topic);
        await bus.publish(topic, 'mine');
        for (const other of ['a', 'b', 'zz', `${topic.slice(0, 1000)}!`, 'a:b']) await bus.publish(other, 'not mine');
        await bus.publish(topic, 'mine');
        await arrive(got, 2);
        expect(got.map(([message]) => message.payload)).toEqual(['mine', 'mine']);
        expect(got[0]?.[1].topic).toBe(topic);
      },
    );

    test('of another namespace are others', async () => {
      const inner = new MessageBus(manager, { namespace: 'inner' });
      const [outerGot, innerGot] = [await collect('t'), await collect('t', inner)];
      await bus.publish('t', 'outer');
      await inner.publish('t', 'inner');
      await arrive(outerGot, 1);
      await arrive(innerGot, 1);
      expect([outerGot, innerGot].map((got) => got.map(([message]) => message.payload))).toEqual([['outer'], ['inner']]);
    });

    test('a pattern gets the topics that match, in this namespace and without its name', async () => {
      const got: [unknown, string, string | undefined][] = [];
      await bus.psubscribe('orders.*', (message, context) => void got.push([message.payload, context.topic, context.pattern]));
      await bus.publish('orders.a', 1);
      await bus.publish('order', 2);
      await raw('../orders.b', '3');
      await bus.publish('orders.ü', 4);
      await arrive(got, 2);
      expect(got).toEqual([
        [1, 'orders.a', 'orders.*'],
        [4, 'orders.ü', 'orders.*'],
      ]);
    });

    test('a pattern for everything shows no channel of ours', async () => {
      const got: string[] = [];
      await bus.psubscribe('*', (_, { topic }) => void got.push(topic));
      await bus.respond('ask', () => 'answer');
      expect(await bus.request('ask', 'question')).toBe('answer');
      await bus.publish('end', 1);
      await until(() => got.includes('end'), { what: 'the last message' });
      expect(got).toEqual(['ask', 'end']);
      expect(events.malformed).toEqual([]);
    });

    test('a subscriber by topic and one by pattern both get a message', async () => {
      const got = await collect('t');
      await bus.psubscribe('?', (message, context) => void got.push([message, context]));
      expect(await bus.publish('t', 1)).toBe(2);
      await arrive(got, 2);
      expect(got.map(([, { pattern }]) => pattern).sort()).toEqual(['?', undefined]);
    });
  });

  describe('what other publishers write', () => {
    test('a bare envelope, {msg: envelope}, {msg: anything} and any JSON reach the handler as envelopes', async () => {
      const got = await collect('t');
      const envelope = createEnvelope('kind', { n: 1 }, 'corr');
      const sent: [string, unknown, unknown][] = [
        [JSON.stringify(envelope), 'kind', { n: 1 }],
        [JSON.stringify({ msg: envelope }), 'kind', { n: 1 }],
        [JSON.stringify({ key: 'k', msg: envelope, more: 1 }), 'kind', { n: 1 }],
        [JSON.stringify({ msg: { hello: 1 } }), 't', { hello: 1 }],
        [JSON.stringify({ msg: null }), 't', null],
        [JSON.stringify({ msg: 'a log line', level: 'info' }), 't', { msg: 'a log line', level: 'info' }],
        [' [1, 2] ', 't', [1, 2]],
        ['"text"', 't', 'text'],
        ['0', 't', 0],
        ['null', 't', null],
        ['{"id":"x","type":"y"}', 't', { id: 'x', type: 'y' }],
      ];
      for (const [text] of sent) await raw('t', text);
      await arrive(got, sent.length);
      expect(got.map(([{ type, payload }]) => [type, payload])).toEqual(sent.map(([, type, payload]) => [type, payload]));
      expect(got.every(([message]) => isEnvelope(message))).toBe(true);
      expect(got[2]?.[1].key).toBe('k');
      expect(new Set(got.slice(3).map(([message]) => message.id)).size).toBe(sent.length - 3);
    });

    test('what is no JSON reaches no handler: malformed is emitted and counted, once per message', async () => {
      const [one, two] = [await collect('t'), await collect('t')];
      const garbage = ['', 'garbage', '{"a":', '{"msg":{}', Buffer.from([0xff, 0xfe, 0x00]), 'NaN'];
      for (const payload of garbage) await raw('t', payload);
      await bus.publish('t', 'good');
      await arrive(one, 1);
      await arrive(two, 1);
      expect([one.length, two.length]).toEqual([1, 1]);
      expect(events.malformed).toEqual(garbage.map((payload) => ({ topic: 't', bytes: payload.length })));
      await until(() => manager.metrics().redis_bus_malformed_total === garbage.length, { what: 'the count' });
      expect(events.error).toEqual([]);
    });

    test('an own property __proto__ stays one, and changes no prototype', async () => {
      const got = await collect<Record<string, unknown>>('t');
      await raw('t', '{"__proto__":{"polluted":1},"msg":1}');
      await raw('t', JSON.stringify(createEnvelope('k', 1)).replace('"payload":1', '"payload":{"__proto__":{"polluted":1}}'));
      const payload = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
      await bus.publish('t', payload);
      await arrive(got, 3);
      expect(got[2]?.[0].payload).toEqual(payload);
      for (const [{ payload }] of got) {
        expect(Object.hasOwn(payload, '__proto__')).toBe(true);
        expect((payload as { polluted?: number }).polluted).toBeUndefined();
      }
      expect(({} as { polluted?: number }).polluted).toBeUndefined();
    });

    test('nesting of 100 000 levels arrives or is refused, and the next message arrives', async () => {
      const got = await collect<unknown>('t');
      const depth = 100_000;
      const deep = '['.repeat(depth) + ']'.repeat(depth);
      await raw('t', deep);
      let nested: unknown = 1;
      for (let i = 0; i < depth; i++) nested = [nested];
      const own = await bus.publish('t', nested).then(
        () => 'sent',
        (error) => error.redisErrorKind,
      );
      expect(['sent', 'serialization']).toContain(own);
      await bus.publish('t', 'next');
      await until(() => got.at(-1)?.[0].payload === 'next', { what: 'the next message' });
      expect(got.length - 1 + events.malformed.length).toBe(own === 'sent' ? 2 : 1);
    });

    test('lone surrogates in a payload, and a payload of 20 MB, come back exactly', async () => {
      const got = await collect<string>('t');
      for (const payload of ['\ud800', 'a\udfffb', '\u2028\u0000', 'é🙂'.repeat(3_500_000)]) {
        await bus.publish('t', payload);
        await arrive(got, 1);
        expect(got.pop()?.[0].payload === payload).toBe(true);
      }
    });
  });

  test('makeRedisBus publishes on one manager and subscribes on the other', async () => {
    const sub = backend.manager();
    const two = makeRedisBus(manager, sub, { namespace: 'both' });
    const got = await collect('t', two);
    expect(await two.publish('t', 1)).toBe(1);
    await arrive(got, 1);
    await until(() => sub.metrics().redis_bus_delivered_total === 1, { what: 'the count' });
    expect([manager.metrics().redis_bus_published_total, sub.metrics().redis_bus_subscriptions]).toEqual([1, 1]);
    await two.close();
    expect(() => makeRedisBus(manager, {} as never)).toThrow(/subscriber/);
  });
});
