/** Durable topics: one suite on every backend. */
import {
  type BusEvents,
  type Envelope,
  MessageBus,
  type MessageContext,
  type RedisConnectionManager,
  RedisError,
  type SubscribeOptions,
} from 'redis-backplane';
import { afterEach, expect, it } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { Random } from '../support/random.ts';
import { until } from '../support/until.ts';

interface Seen {
  payload: unknown;
  attempt: number;
  lastError: string | undefined;
  key: string | undefined;
  streamId: string | undefined;
  consumer: number;
}

/** Retries without much waiting. */
const SOON = { minDelayMs: 10, maxDelayMs: 20 };

describeBackends('a durable topic', (backend) => {
  const buses: MessageBus[] = [];
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
  });

  function bus(manager: RedisConnectionManager = backend.manager(), options = {}): MessageBus {
    const made = new MessageBus(manager, options);
    buses.push(made);
    return made;
  }

  /** Consumes `topic` and records what comes; `handler` decides what becomes of it. */
  async function consume(
    on: MessageBus,
    topic: string,
    options: SubscribeOptions,
    handler: (envelope: Envelope, context: MessageContext) => void | Promise<void> = () => {},
    seen: Seen[] = [],
    consumer = 0,
  ) {
    const unsubscribe = await on.subscribe(
      topic,
      (envelope, context) => {
        const { attempt, key, streamId } = context;
        seen.push({ payload: envelope.payload, attempt, lastError: envelope.lastError, key, streamId, consumer });
        return handler(envelope, context);
      },
      options,
    );
    return { seen, unsubscribe };
  }

  const streamOf = (topic: string): string => `${backend.namespace}:~stream:{${backend.namespace}:${topic}}`;
  const appendedOf = (topic: string): string => `${backend.namespace}:~appended:{${backend.namespace}:${topic}}`;
  const sizesOf = (topic: string): string => `${backend.namespace}:~sizes:{${backend.namespace}:${topic}}`;

  async function groupInfo(manager: RedisConnectionManager, topic: string, group: string): Promise<Record<string, unknown>> {
    for (const flat of await manager.command<unknown[] | Record<string, unknown>[]>('XINFO', 'GROUPS', streamOf(topic))) {
      const info = fields(flat);
      if (info.name === group) return info;
    }
    throw new Error(`no group ${group}`);
  }

  async function consumersOf(manager: RedisConnectionManager, topic: string, group: string): Promise<string[]> {
    const all = await manager.command<unknown[]>('XINFO', 'CONSUMERS', streamOf(topic), group);
    return all.map((flat) => String(fields(flat).name)).filter((name) => name !== '~waiting');
  }

  it('gives a group each message once, and has nothing pending afterwards', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const { seen } = await consume(one, 't', { group: 'g' });
    await Promise.all(Array.from({ length: 300 }, (_, n) => one.publish('t', { n }, { durable: true })));
    await until(() => seen.length === 300, { what: '300 messages' });
    expect(seen.map(({ payload }) => (payload as { n: number }).n)).toEqual(Array.from({ length: 300 }, (_, n) => n));
    expect(seen.every(({ attempt, lastError }) => attempt === 1 && lastError === undefined)).toBe(true);
    await until(async () => (await groupInfo(manager, 't', 'g')).pending === 0, { what: 'nothing to be pending' });
    expect(seen).toHaveLength(300);
  });

  it('gives every group every message, and of one group each to one consumer', async () => {
    const seen: Record<string, Seen[]> = { a: [], b: [] };
    for (const group of ['a', 'b', 'b', 'b']) await consume(bus(), 't', { group, concurrency: 5 }, undefined, seen[group]);
    const publisher = bus();
    await Promise.all(Array.from({ length: 100 }, (_, n) => publisher.publish('t', n, { durable: true })));
    await until(() => seen.a?.length === 100 && seen.b?.length === 100, { what: '100 messages for each group' });
    for (const group of ['a', 'b']) expect(new Set(seen[group]?.map(({ payload }) => payload)).size).toBe(100);
  });

  it('sends to the live subscribers in the same step, and says how many there were', async () => {
    const one = bus();
    const live: unknown[] = [];
    const patterned: unknown[] = [];
    expect(await one.publish('t', 'nobody', { durable: true })).toBe(0);
    await one.subscribe('t', ({ payload }) => void live.push(payload));
    await one.psubscribe('t*', ({ payload }) => void patterned.push(payload));
    const { seen } = await consume(one, 't', { group: 'g', from: 'start' });
    expect(await one.publish('t', 'all', { durable: true, key: 'k' })).toBe(2);
    await until(() => live.length === 1 && patterned.length === 1 && seen.length === 2, { what: 'everyone to have it' });
    expect(seen.map(({ payload, key }) => [payload, key])).toEqual([
      ['nobody', undefined],
      ['all', 'k'],
    ]);
  });

  it('tries again what failed, with the error and the attempt in the envelope', async () => {
    const one = bus();
    const errors: unknown[] = [];
    one.on('error', (event) => errors.push([event.topic, event.group, (event.error as Error).message]));
    const { seen } = await consume(one, 't', { group: 'g', retry: SOON }, ({ attempts }) => {
      if (attempts < 2) throw new Error(`failed ${attempts}`);
    });
    await one.publish('t', 'x', { durable: true });
    await until(() => seen.length === 3, { what: 'three attempts' });
    expect(seen.map(({ attempt, lastError }) => [attempt, lastError])).toEqual([
      [1, undefined],
      [2, 'failed 0'],
      [3, 'failed 1'],
    ]);
    expect(errors).toEqual([
      ['t', 'g', 'failed 0'],
      ['t', 'g', 'failed 1'],
    ]);
  });

  it('keeps what is to be tried again when its consumer is gone, with the time it is due', async () => {
    const first = bus();
    const retry = { minDelayMs: 400, maxDelayMs: 400 };
    const { seen } = await consume(first, 't', { group: 'g', retry }, () => Promise.reject(new Error('first')));
    await first.publish('t', 'x', { durable: true });
    await until(() => seen.length === 1, { what: 'the first attempt' });
    const failedAt = performance.now();
    await first.close();
    const second = await consume(bus(), 't', { group: 'g', retry });
    await until(() => second.seen.length === 1, { what: 'the second attempt' });
    expect(performance.now() - failedAt).toBeGreaterThan(350);
    expect(second.seen).toMatchObject([{ payload: 'x', attempt: 2, lastError: 'first' }]);
  });

  it('puts among the dead letters what failed as often as it may: listed, given back to that group alone, purged', async () => {
    const one = bus();
    let broken = true;
    const { seen } = await consume(one, 't', { group: 'g', retry: { ...SOON, maxAttempts: 2 }, concurrency: 3 }, ({ payload }) => {
      if (broken && payload !== 'fine') throw new Error(`cannot ${payload}`);
    });
    const other = await consume(one, 't', { group: 'other' });
    for (const payload of ['a', 'fine', 'b', 'c']) await one.publish('t', payload, { durable: true, key: `key ${payload}` });
    const letters = one.deadLetters('t', 'g');
    await until(async () => (await letters.list()).length === 3, { what: 'three dead letters' });
    const all = await letters.list<string>();
    const of = (payload: string) => all.find(({ envelope }) => envelope?.payload === payload);
    const a = of('a');
    expect(a).toMatchObject({
      attempts: 2,
      lastError: 'cannot a',
      key: 'key a',
      envelope: { payload: 'a', attempts: 2, lastError: 'cannot a' },
    });
    expect(await letters.list({ after: all[0]?.id as string, limit: 1 })).toEqual([all[1]]);
    expect(await one.deadLetters('t', 'other').list()).toEqual([]);

    broken = false;
    seen.length = 0;
    expect(await letters.redrive([a?.id as string])).toBe(1);
    await until(() => seen.length === 1, { what: 'the redriven message' });
    expect(seen).toMatchObject([{ payload: 'a', attempt: 3, lastError: 'cannot a', key: 'key a' }]);
    expect(await letters.purge([of('b')?.id as string])).toBe(1);
    expect(await letters.list()).toMatchObject([{ envelope: { payload: 'c' } }]);
    expect(await letters.redrive()).toBe(1);
    await until(() => seen.length === 2, { what: 'the second redriven message' });
    expect([await letters.list(), await letters.purge(), await letters.redrive()]).toEqual([[], 0, 0]);
    await one.publish('t', 'last', { durable: true });
    await until(() => other.seen.at(-1)?.payload === 'last', { what: 'the last message' });
    expect(other.seen.map(({ payload }) => payload)).toEqual(['a', 'fine', 'b', 'c', 'last']);
  });

  it('tells what becomes a dead letter, with a handler or without, by an event, a number and a count', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const told: BusEvents['dead-letter'][] = [];
    one.on('dead-letter', (event) => told.push(event));
    const retry = { ...SOON, maxAttempts: 2 };
    await consume(one, 't', { group: 'g', retry }, () => Promise.reject(new Error('no')));
    const letters = one.deadLetters('t', 'g');
    expect(await letters.count()).toBe(0);
    await one.publish('t', 'x', { durable: true });
    await manager.command('XADD', streamOf('t'), '*', 'data', 'garbage');
    await one.publish('t', 'y', { durable: true });
    await until(() => told.length === 3, { what: 'three events' });
    const listed = await letters.list();
    const expected = listed.map(({ id, streamId, attempts, lastError }) => ({
      topic: 't',
      group: 'g',
      letterId: id,
      streamId,
      attempts,
      lastError,
    }));
    expect(told.sort((a, b) => (a.letterId < b.letterId ? -1 : 1))).toEqual(expected.sort((a, b) => (a.letterId < b.letterId ? -1 : 1)));
    expect(listed.map(({ attempts, lastError }) => [attempts, lastError]).sort()).toEqual([
      [0, 'not JSON'],
      [2, 'no'],
      [2, 'no'],
    ]);
    expect(await letters.count()).toBe(3);
    expect(manager.metrics().redis_bus_dead_letters_total).toBe(3);
  });

  it('tells of every group how far it is and who consumes it, and removes one that nobody consumes', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    expect(await one.groups('t')).toEqual([]);
    for (const group of ['read', 'left', 'done']) await consume(one, 't', { group, from: 'start' });
    await consume(bus(), 't', { group: 'left' }).then(({ unsubscribe }) => unsubscribe());
    const left = bus(backend.manager());
    await left.subscribe('t', () => Promise.reject(new Error('no')), { group: 'gone', from: 'start', retry: { maxAttempts: 1 } });
    await one.publish('t', 0, { durable: true });
    await until(async () => (await one.deadLetters('t', 'gone').count()) === 1, { what: 'the dead letter' });
    await left.close();
    for (let n = 1; n < 6; n++) await one.publish('t', n, { durable: true });
    const all = async () => (await one.groups('t')).sort((a, b) => (a.name < b.name ? -1 : 1));
    await until(async () => (await all()).filter(({ lag }) => lag === 0).length === 3, { what: 'three to be done' });
    const groups = await all();
    expect(groups.map(({ name, lag, pending, consumers }) => [name, lag, pending, consumers])).toEqual([
      ['done', 0, 0, 1],
      ['gone', 5, 0, 0],
      ['left', 0, 0, 1],
      ['read', 0, 0, 1],
    ]);
    const now = Number((await manager.command<string[]>('TIME'))[0]) * 1_000;
    expect(groups.every(({ lastActiveAt = 0 }) => Math.abs(now - lastActiveAt) < 60_000)).toBe(true);
    expect(await failureOf(one.removeGroup('t', 'done'))).toMatchObject({
      redisErrorKind: 'config',
      message: 'MessageBus.removeGroup: group: expected a group without consumers, got consumers: 1',
    });
    expect(await one.removeGroup('t', 'gone')).toBe(true);
    expect(await one.removeGroup('t', 'gone')).toBe(false);
    expect((await all()).map(({ name }) => name)).toEqual(['done', 'left', 'read']);
    const keys = await manager.command<string[]>('KEYS', `${backend.namespace}:*:gone`);
    expect(keys).toEqual([]);
  });

  it('appends a message of one id once within its window, however often and from wherever it is published', async () => {
    const manager = backend.manager();
    const [one, two] = [bus(manager), bus()];
    const live: unknown[] = [];
    await two.subscribe('t', ({ id, payload }) => void live.push([id, payload]));
    const { seen } = await consume(one, 't', { group: 'g' });
    const once = { durable: true, id: 'order "7"', dedupeMs: 60_000 };
    const reached = await Promise.all([one, two, one].map((on, n) => on.publish('t', n, once)));
    expect(reached.sort()).toEqual([0, 0, 1]);
    const envelope: Envelope = { id: 'of its own', type: 't', ts: '', corrId: 'c', payload: 'envelope', attempts: 0 };
    for (const on of [one, two]) await on.publish('t', envelope, { durable: true, dedupeMs: 60_000, key: 'k' });
    // Another topic has ids of its own, and a window ends.
    await one.publish('other', 0, once);
    await one.publish('t', 'short', { durable: true, id: 'short', dedupeMs: 1 });
    await until(async () => (await one.publish('t', 'short again', { durable: true, id: 'short', dedupeMs: 60_000 })) === 1, {
      what: 'the end of a window',
    });
    await until(() => seen.length === 4 && live.length === 4, { what: () => `four of each; got ${seen.length}, ${live.length}` });
    expect(seen.map(({ payload }) => payload).slice(1)).toEqual(['envelope', 'short', 'short again']);
    expect(live.slice(0, 2)).toEqual([
      [once.id, seen[0]?.payload],
      ['of its own', 'envelope'],
    ]);
    expect(await manager.command('XLEN', streamOf('t'))).toBe(4);
    // What others wrote there stops nobody.
    await manager.command('SET', streamOf('t').replace('~stream', '~seen'), 'mine');
    expect(await one.publish('t', 1, { ...once, id: 'another' })).toBe(1);
    for (const [options, name] of [
      [{ id: 'x' }, 'durable'],
      [{ dedupeMs: 1 }, 'durable'],
      [{ durable: true, dedupeMs: 1 }, 'id'],
      [{ durable: true, id: '' }, 'id'],
      [{ durable: true, id: 'x'.repeat(513) }, 'id'],
      [{ durable: true, id: 'x', dedupeMs: 0 }, 'dedupeMs'],
    ] as const) {
      const error = await failureOf(one.publish('t', 1, options));
      expect([error.redisErrorKind, error.message]).toEqual(['config', expect.stringContaining(`MessageBus.publish: ${name}: expected`)]);
    }
  });

  it('puts what is not JSON among the dead letters, and goes on', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const malformed: unknown[] = [];
    one.on('malformed', (event) => malformed.push([event.topic, event.group, event.bytes]));
    const { seen } = await consume(one, 't', { group: 'g' });
    await manager.command('XADD', streamOf('t'), '*', 'data', '{"cut": ');
    await manager.command('XADD', streamOf('t'), '*', 'data', Buffer.from([0xff, 0xfe]));
    await manager.command('XADD', streamOf('t'), '*', 'temperature', '21');
    await manager.command('XADD', streamOf('t'), '*', 'key', 'k', 'data', '{"raw":1}');
    await one.publish('t', 'fine', { durable: true });
    await until(() => seen.length === 2, { what: 'what is JSON' });
    expect(seen.map(({ payload, key }) => [payload, key])).toEqual([
      [{ raw: 1 }, 'k'],
      ['fine', undefined],
    ]);
    const letters = one.deadLetters('t', 'g');
    await until(async () => (await letters.list()).length === 3, { what: 'three dead letters' });
    for (const letter of await letters.list()) expect(letter).toMatchObject({ attempts: 0, lastError: 'not JSON' });
    expect(malformed).toEqual([
      ['t', 'g', 8],
      ['t', 'g', 2],
      ['t', 'g', 0],
    ]);
  });

  it('takes a key that another program wrote empty for none', async () => {
    const manager = backend.manager();
    const { seen } = await consume(bus(manager), 't', { group: 'g', concurrency: 1 });
    for (let n = 0; n < 5; n++) await manager.command('XADD', streamOf('t'), '*', 'key', '', 'data', String(n));
    await bus(manager).publish('t', 5, { durable: true });
    await until(() => seen.length === 6, { what: 'all of them' });
    expect(seen.map(({ payload, key }) => [payload, key])).toEqual([0, 1, 2, 3, 4, 5].map((n) => [n, undefined]));
  });

  it('hands out messages of one key strictly in order, over several consumers and failures, while other keys go on', async () => {
    const random = new Random(Number(process.env.SEED ?? 20_261_121));
    const seen: Seen[] = [];
    const running = new Map<string, number>();
    let together = 0;
    const overlapping: string[] = [];
    const handler = async (_: Envelope, { key = '' }: MessageContext): Promise<void> => {
      running.set(key, (running.get(key) ?? 0) + 1);
      if (running.get(key) !== 1) overlapping.push(key);
      together = Math.max(together, [...running.values()].filter((n) => n > 0).length);
      const turns = random.between(0, 3);
      for (let i = 0; i < turns; i++) await new Promise(setImmediate);
      running.set(key, (running.get(key) ?? 0) - 1);
      if (random.next() < 0.2) throw new Error('chance');
    };
    const done: Record<string, number[]> = {};
    const options = { group: 'g', concurrency: 4, retry: { ...SOON, maxAttempts: 50 } };
    for (const consumer of [0, 1, 2]) {
      await consume(
        bus(),
        't',
        options,
        async (envelope, context) => {
          await handler(envelope, context);
          const key = context.key as string;
          done[key] = [...(done[key] ?? []), envelope.payload as number];
        },
        seen,
        consumer,
      );
    }
    const publisher = bus();
    const keys = Array.from({ length: 6 }, (_, n) => `key ${n}`);
    for (let n = 0; n < 40; n++) await Promise.all(keys.map((key) => publisher.publish('t', n, { durable: true, key })));
    await until(() => keys.every((key) => done[key]?.length === 40), {
      timeoutMs: 15_000,
      what: () => `all messages; done: ${JSON.stringify(Object.values(done).map((list) => list.length))}`,
    });
    for (const key of keys) expect(done[key]).toEqual(Array.from({ length: 40 }, (_, n) => n));
    expect(overlapping).toEqual([]);
    expect(together).toBeGreaterThan(1);
    expect(new Set(seen.map(({ consumer }) => consumer)).size).toBeGreaterThan(1);
    const times = new Map<string, number>();
    for (const { streamId = '', attempt } of seen) {
      times.set(streamId, (times.get(streamId) ?? 0) + 1);
      expect(attempt).toBe(times.get(streamId));
    }
    // Nothing is kept of what is done.
    const manager = backend.manager();
    await until(async () => (await groupInfo(manager, 't', 'g')).pending === 0, { what: 'nothing to be pending' });
    const [lanes, due, parked, notes] = ['lanes', 'due', 'parked', 'notes'].map(
      (kind) => `${streamOf('t').replace('~stream', `~${kind}`)}:g`,
    );
    expect(await manager.command('EXISTS', lanes as string, due as string, parked as string)).toBe(0);
    expect((await manager.command<string[]>('HKEYS', notes as string)).sort()).toEqual(['lease', 'start', 'wait']);
  });

  it('does not hold up other keys behind one that fails for long', async () => {
    const one = bus();
    const { seen } = await consume(one, 't', { group: 'g', retry: { minDelayMs: 60_000 } }, (_, { key }) => {
      if (key === 'bad') throw new Error('not now');
    });
    for (let n = 0; n < 100; n++) await one.publish('t', n, { durable: true, key: n % 2 === 0 ? 'bad' : 'good' });
    await until(() => seen.length === 51, { what: 'all good messages and one bad' });
    expect(seen.filter(({ key }) => key === 'good')).toHaveLength(50);
  });

  it('takes over what a consumer had that went away without a word', async () => {
    const manager = backend.manager();
    const gone = new MessageBus(manager);
    const { seen } = await consume(gone, 't', { group: 'g', concurrency: 2, claimAfterMs: 300 }, () => new Promise(() => {}));
    const other = backend.manager();
    const second = bus(other);
    await second.publish('t', 'a', { durable: true, key: 'k' });
    await second.publish('t', 'b', { durable: true });
    await second.publish('t', 'c', { durable: true, key: 'k' });
    await until(() => seen.length === 2, { what: 'the first consumer to have two messages' });
    await manager.disconnect();
    const rest = await consume(second, 't', { group: 'g', claimAfterMs: 300 });
    await until(() => rest.seen.length === 3, { what: 'the messages to be taken over' });
    const order = rest.seen.map(({ payload }) => payload);
    expect(order.indexOf('a')).toBeLessThan(order.indexOf('c'));
    expect(rest.seen.find(({ payload }) => payload === 'a')).toMatchObject({
      attempt: 2,
      lastError: expect.stringContaining('claimAfterMs'),
    });
    expect(rest.seen.find(({ payload }) => payload === 'c')).toMatchObject({ attempt: 1 });
    await until(async () => (await consumersOf(other, 't', 'g')).length === 1, { what: 'the consumer that is gone to be removed' });
  });

  it('removes consumers that left or that are gone, and another program’s idle ones', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    await one.publish('t', 'x', { durable: true });
    await consume(one, 't', { group: 'g', claimAfterMs: 100 });
    const { unsubscribe } = await consume(one, 't', { group: 'g', claimAfterMs: 100 });
    const leaving = backend.manager();
    await consume(new MessageBus(leaving), 't', { group: 'g', claimAfterMs: 100 });
    await manager.command('XGROUP', 'CREATECONSUMER', streamOf('t'), 'g', 'of-another-program');
    expect(await consumersOf(manager, 't', 'g')).toHaveLength(4);
    await unsubscribe();
    expect(await consumersOf(manager, 't', 'g')).toHaveLength(3);
    await leaving.disconnect();
    await until(async () => (await consumersOf(manager, 't', 'g')).length === 1, { what: 'one consumer to be left' });
  });

  it('begins where it is told to: with the first message, an id, a time, or what is new', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const ids = await consume(one, 't', { group: 'ids' });
    for (const n of [0, 1, 2, 3]) await one.publish('t', n, { durable: true });
    await until(() => ids.seen.length === 4, { what: 'the ids' });
    const [, second] = ids.seen;
    await until(
      async () => Number((await manager.command<string[]>('TIME'))[0]) * 1_000 > Number(second?.streamId?.split('-')[0]) + 1_000,
      {
        what: 'the server’s clock to have gone on',
      },
    );
    const time = Number((await manager.command<string[]>('TIME'))[0]) * 1_000;
    await one.publish('t', 4, { durable: true });
    const groups: [string, string | undefined, number[]][] = [
      ['start', 'start', [0, 1, 2, 3, 4, 5]],
      ['id', second?.streamId, [1, 2, 3, 4, 5]],
      ['time', new Date(time).toISOString(), [4, 5]],
      ['new', undefined, [5]],
    ];
    const consumers = [];
    for (const [group, from, expected] of groups) consumers.push({ ...(await consume(one, 't', { group, from })), expected });
    await one.publish('t', 5, { durable: true });
    for (const { seen, expected } of consumers) {
      await until(() => seen.at(-1)?.payload === 5, { what: 'the last message' });
      expect(seen.map(({ payload }) => payload)).toEqual(expected);
    }
  });

  it('trims what every group has acknowledged, and nothing that a slow one needs', async () => {
    const manager = backend.manager();
    const one = bus(manager, { retention: { maxLength: 10, maxAgeMs: 3_600_000 } });
    const fast = await consume(one, 't', { group: 'fast', concurrency: 50 });
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = await consume(one, 't', { group: 'slow', concurrency: 50 }, () => held);
    const publish = async (count: number): Promise<void> => {
      await Promise.all(Array.from({ length: count }, (_, n) => one.publish('t', n, { durable: true })));
    };
    await publish(1_000);
    await until(() => fast.seen.length === 1_000, { what: 'the fast group to be through' });
    // Trimming is done at most once a second, with a publication.
    let sent = 1_000;
    const length = async (): Promise<number> => {
      await publish(100);
      sent += 100;
      return manager.command<number>('XLEN', streamOf('t'));
    };
    const begin = performance.now();
    await until(async () => (await length()) > 0 && performance.now() - begin > 1_500, { what: 'a trim to have been made' });
    expect(await manager.command('XLEN', streamOf('t'))).toBe(sent);
    release();
    await until(() => slow.seen.length === sent, {
      timeoutMs: 15_000,
      what: () => `the slow group to be through: ${slow.seen.length} of ${sent}`,
    });
    expect(new Set(slow.seen.map(({ streamId }) => streamId)).size).toBe(sent);
    await until(async () => (await length()) < 500, { timeoutMs: 15_000, what: 'the stream to be trimmed' });
  });

  it('keeps the newest maxBytes and little more, and nothing less than a slow group needs', async () => {
    const manager = backend.manager();
    const one = bus(manager, { retention: { maxBytes: 500_000 } });
    const fast = await consume(one, 't', { group: 'fast', concurrency: 50 });
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = await consume(one, 't', { group: 'slow', concurrency: 50 }, () => held);
    const text = 'x'.repeat(10_000);
    let sent = 0;
    const publish = async (count: number): Promise<void> => {
      await Promise.all(Array.from({ length: count }, (_, n) => one.publish('t', `${n}${text}`, { durable: true, key: `k${n}` })));
      sent += count;
    };
    /** Bytes of names and values that are there. */
    const size = async (): Promise<number> => {
      const entries = (await manager.command('XRANGE', streamOf('t'), '-', '+')) as [string, string[]][];
      return entries.reduce((sum, [, fields]) => sum + fields.join('').length, 0);
    };
    const begin = performance.now();
    const published = async (): Promise<boolean> => {
      await publish(20);
      return performance.now() - begin > 2_500;
    };
    await until(published, { what: 'a trim to have been made' });
    expect(await manager.command('XLEN', streamOf('t'))).toBe(sent);
    expect(await size()).toBeGreaterThan(1_000_000);
    release();
    await until(() => slow.seen.length === sent && fast.seen.length === sent, { timeoutMs: 30_000, what: 'both groups to be through' });
    const trimmed = async (): Promise<boolean> => {
      await publish(20);
      return (await size()) < 1_000_000;
    };
    await until(trimmed, { timeoutMs: 30_000, what: 'the stream to be trimmed' });
    await until(() => slow.seen.length === sent, { timeoutMs: 30_000, what: 'the slow group to be through' });
    // What is trimmed was handled.
    expect(new Set(slow.seen.map(({ streamId }) => streamId)).size).toBe(sent);
    // However often it is trimmed, and though of what is gone nothing is noted for long, the newest is there.
    let least = Number.POSITIVE_INFINITY;
    const noted = async (): Promise<number> => {
      await publish(20);
      least = Math.min(least, await size());
      return manager.command<number>('ZCARD', sizesOf('t'));
    };
    await until(async () => (await noted()) < 40, { timeoutMs: 30_000, what: 'the notes to be trimmed' });
    const again = performance.now();
    await until(async () => (await noted()) < 40 && performance.now() - again > 3_500, { timeoutMs: 30_000, what: 'more trims' });
    expect(least).toBeGreaterThanOrEqual(500_000);
  }, 120_000);

  it('counts on where something else stands in the place of what it counts', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    await manager.command('SET', sizesOf('t'), 'x');
    await manager.command('RPUSH', appendedOf('t'), 'x');
    await one.publish('t', 'abc', { durable: true });
    await manager.command('SET', appendedOf('t'), '9223372036854775807');
    await one.publish('t', 'abc', { durable: true, key: 'k' });
    const [entry] = (await manager.command('XREVRANGE', streamOf('t'), '+', '-', 'COUNT', 1)) as [string, string[]][];
    expect(Number(await manager.command('GET', appendedOf('t')))).toBe(entry?.[1].join('').length);
    await one.publish('t', 'x'.repeat(70_000), { durable: true });
    expect(await manager.command('ZCARD', sizesOf('t'))).toBe(1);
  });

  it('says how far a group is behind', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await consume(one, 't', { group: 'g', claimAfterMs: 300 }, () => held);
    await Promise.all(Array.from({ length: 20 }, (_, n) => one.publish('t', n, { durable: true })));
    const lag = (): number | undefined => manager.metrics().redis_bus_lag.t?.g;
    await until(() => lag() === 20, { what: () => `a lag of 20; it is ${lag()}` });
    release();
    await until(() => lag() === 0, { what: () => `no lag; it is ${lag()}` });
  });

  it('makes its group anew when it is gone, and loses nothing that is in the stream', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const { seen } = await consume(one, 't', { group: 'g', claimAfterMs: 300 });
    await one.publish('t', 'before', { durable: true });
    await until(() => seen.length === 1, { what: 'a message' });
    await manager.command('XGROUP', 'DESTROY', streamOf('t'), 'g');
    await one.publish('t', 'destroyed', { durable: true });
    await until(() => seen.some(({ payload }) => payload === 'destroyed'), { what: 'a message after the group was destroyed' });
    await manager.command('DEL', ...(await manager.command<string[]>('KEYS', `${backend.namespace}:~*`)));
    await one.publish('t', 'deleted', { durable: true });
    await until(() => seen.some(({ payload }) => payload === 'deleted'), { what: 'a message after everything was deleted' });
  });

  it('finishes what is in hand when it ends, and gives back the rest at once', async () => {
    const one = bus();
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = await consume(one, 't', { group: 'g', concurrency: 2 }, () => held);
    for (const n of [0, 1, 2, 3, 4]) await one.publish('t', n, { durable: true, key: n === 2 ? '0' : String(n) });
    await until(() => first.seen.length === 2, { what: 'two messages in hand' });
    const ended = first.unsubscribe();
    const second = await consume(bus(), 't', { group: 'g' });
    await until(() => second.seen.length === 2, { what: 'the rest to be handed out' });
    expect(second.seen.map(({ payload, attempt }) => [payload, attempt])).toEqual([
      [3, 1],
      [4, 1],
    ]);
    release();
    await ended;
    await until(() => second.seen.length === 3, { what: 'what followed by key' });
    expect(second.seen.at(-1)).toMatchObject({ payload: 2, attempt: 1 });
    expect(first.seen).toHaveLength(2);
  });

  it('ends from within its own handler, whose message is done all the same', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const ended: Promise<void>[] = [];
    const { seen, unsubscribe } = await consume(one, 't', { group: 'g' }, async () => {
      ended.push(unsubscribe());
      await ended[0];
    });
    await one.publish('t', 0, { durable: true });
    await one.publish('t', 1, { durable: true });
    await until(() => ended.length === 1, { what: 'the handler' });
    await ended[0];
    await until(async () => (await consumersOf(manager, 't', 'g')).length === 0, { what: 'the consumer to have left' });
    const rest = await consume(one, 't', { group: 'g' });
    await until(() => rest.seen.length === 1, { what: 'the other message' });
    expect([seen, rest.seen].map((list) => list.map(({ payload, attempt }) => [payload, attempt]))).toEqual([[[0, 1]], [[1, 1]]]);
  });

  it('gives back what a handler still has when the bus cannot wait any longer', async () => {
    const impatient = bus(backend.manager(), { closeTimeoutMs: 50 });
    const signals: AbortSignal[] = [];
    await consume(impatient, 't', { group: 'g' }, (_, { signal }) => {
      signals.push(signal);
      return new Promise(() => {});
    });
    await impatient.publish('t', 'x', { durable: true });
    await until(() => signals.length === 1, { what: 'the message to be in hand' });
    await impatient.close();
    expect(signals[0]?.reason).toMatchObject({ redisErrorKind: 'closed' });
    const second = await consume(bus(), 't', { group: 'g' });
    await until(() => second.seen.length === 1, { what: 'the message to be handed out' });
    expect(second.seen).toMatchObject([{ payload: 'x', attempt: 2 }]);
  });

  it('counts a handler that never ends as one that failed', async () => {
    const one = bus(backend.manager(), { closeTimeoutMs: 50 });
    const errors: unknown[] = [];
    one.on('error', ({ error }) => errors.push(error));
    const signals: AbortSignal[] = [];
    const { seen } = await consume(one, 't', { group: 'g', timeoutMs: 100, claimAfterMs: 100, retry: SOON }, (_, { attempt, signal }) => {
      signals.push(signal);
      return attempt === 1 ? new Promise(() => {}) : undefined;
    });
    await one.publish('t', 'x', { durable: true });
    await until(() => seen.length === 2, { what: 'a second attempt' });
    expect(seen[1]).toMatchObject({ attempt: 2, lastError: expect.stringContaining('timeoutMs') });
    expect(signals[0]?.aborted).toBe(true);
    expect(errors).toEqual([expect.objectContaining({ redisErrorKind: 'timeout' })]);
  });

  it('ends with its signal, before and after it is confirmed', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const early = new AbortController();
    const failure = failureOf(one.subscribe('t', () => {}, { group: 'g', signal: early.signal }));
    early.abort();
    expect((await failure).redisErrorKind).toBe('cancelled');
    const late = new AbortController();
    await consume(one, 't', { group: 'g', signal: late.signal });
    late.abort();
    await until(async () => (await consumersOf(manager, 't', 'g')).length === 0, { what: 'no consumer to be left' });
    await until(() => manager.metrics().redis_bus_subscriptions === 0, { what: 'no subscription to be left' });
  });

  it('consumes with one more connection than it publishes with, however many groups and topics', async () => {
    const manager = backend.manager();
    const one = bus(manager);
    const all: Seen[] = [];
    for (const topic of ['a', 'b', 'c']) for (const group of ['g', 'h']) await consume(one, topic, { group }, undefined, all);
    for (const topic of ['a', 'b', 'c']) await one.publish(topic, topic, { durable: true });
    await until(() => all.length === 6, { what: 'six messages' });
    expect(manager.metrics().redis_connection_pool_size).toBe(2);
  });

  it.each(['{braces}', 'a{b}c', '}{', '{}', 'glob*?[a]', '%7B', 'emoji 🦀', 'a:b', 'x'.repeat(1_024)])(
    'serves a topic, a group and a key called %s',
    async (name) => {
      const one = bus();
      const group = name.slice(0, 500);
      const { seen } = await consume(one, name, { group, retry: { ...SOON, maxAttempts: 2 } }, () => Promise.reject(new Error('no')));
      await one.publish(name, 'x', { durable: true, key: name });
      const letters = one.deadLetters(name, group);
      await until(async () => (await letters.list()).length === 1, { what: 'a dead letter' });
      expect(await letters.list()).toMatchObject([{ key: name, envelope: { payload: 'x' } }]);
      expect(seen).toHaveLength(2);
    },
  );

  it('carries payloads exactly: __proto__, 1 MB, control characters', async () => {
    const one = bus();
    const { seen } = await consume(one, 't', { group: 'g' });
    const payloads = [JSON.parse('{"__proto__":{"x":1}}'), 'y'.repeat(1 << 20), '\0\r\n\u2028', null, 0, '', { nested: [[[{}]]] }];
    for (const payload of payloads) await one.publish('t', payload, { durable: true });
    await until(() => seen.length === payloads.length, { what: 'all payloads' });
    expect(seen.map(({ payload }) => JSON.stringify(payload))).toEqual(payloads.map((payload) => JSON.stringify(payload)));
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  it('refuses bad options by name', async () => {
    const one = bus();
    const refused: [Record<string, unknown>, string][] = [
      [{ group: '' }, 'group'],
      [{ group: 7 }, 'group'],
      [{ group: 'a\nb' }, 'group'],
      [{ group: 'g', from: 'yesterday' }, 'from'],
      [{ group: 'g', from: 5 }, 'from'],
      [{ group: 'g', concurrency: 0 }, 'concurrency'],
      [{ group: 'g', concurrency: 1e6 }, 'concurrency'],
      [{ group: 'g', retry: 3 }, 'retry'],
      [{ group: 'g', retry: [] }, 'retry'],
      [{ group: 'g', retry: { minDelayMs: 1n } }, 'retry.minDelayMs'],
      [{ group: 'g', retry: { attempts: 3 } }, 'retry.attempts'],
      [{ group: 'g', retry: { maxAttempts: 0 } }, 'retry.maxAttempts'],
      [{ group: 'g', retry: { minDelayMs: -1 } }, 'retry.minDelayMs'],
      [{ group: 'g', retry: { minDelayMs: 10, maxDelayMs: 5 } }, 'retry.maxDelayMs'],
      [{ group: 'g', claimAfterMs: 10 }, 'claimAfterMs'],
      [{ group: 'g', claimAfterMs: Number.POSITIVE_INFINITY }, 'claimAfterMs'],
      [{ group: 'g', timeoutMs: Number.NaN }, 'timeoutMs'],
      [{ group: 'g', timeoutMs: new Date() }, 'timeoutMs'],
      [{ group: 'g', timeOutMs: 5 }, 'timeOutMs'],
    ];
    for (const [options, name] of refused) {
      const error = await failureOf(one.subscribe('t', () => {}, options as never));
      expect([error.redisErrorKind, error.message]).toEqual(['config', expect.stringContaining(`MessageBus.subscribe.${name}: expected`)]);
    }
    expect(await failureOf(one.deadLetters('t', 'g').list({ limit: 0 }))).toMatchObject({ redisErrorKind: 'config' });
    expect(await failureOf(one.deadLetters('t', 'g').redrive(['x']))).toMatchObject({ redisErrorKind: 'config' });
    for (const retention of [{ maxLength: -1 }, { maxBytes: -1 }, { maxBytes: 1.5 }, { maxAgeMs: -1 }, { maxByte: 1 } as object]) {
      expect(() => new MessageBus(backend.manager(), { retention }), JSON.stringify(retention)).toThrow(RedisError);
    }
    expect(() => new MessageBus(backend.manager(), { retention: { maxBytes: -1 } })).toThrow(/retention\.maxBytes.* got -1/);
    expect(await backend.manager().command('KEYS', `${backend.namespace}*`)).toEqual([]);
  });
});

/** A reply of XINFO: flat in RESP 2, an object where the client makes one. */
function fields(info: unknown): Record<string, unknown> {
  if (!Array.isArray(info)) return info as Record<string, unknown>;
  return Object.fromEntries(Array.from({ length: info.length / 2 }, (_, at) => [info[at * 2], info[at * 2 + 1]]));
}
