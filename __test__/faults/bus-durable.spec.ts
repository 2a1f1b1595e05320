/** Durable topics while consumers and servers are killed, frozen, blocked, cut off or full. */
import { MessageBus } from 'redis-backplane';
import { expect, it } from 'vitest';
import { type ChildContext, startProcess } from '../support/process.ts';
import { startCluster } from '../support/redis-server.ts';
import { PATIENCE_MS, useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const STREAM = '~stream:{t}';
const SOON = { minDelayMs: 10, maxDelayMs: 20 };

interface Args {
  url: string;
  claimAfterMs: number;
  mode: 'hold' | 'block' | 'fail';
  delayMs?: number;
}

/** Consumes `t` as group `g`, one message at a time, and says what it sees. */
async function consumer({ redis, emit, args }: ChildContext<Args>): Promise<void> {
  const { url, claimAfterMs, mode, delayMs = 0 } = args;
  const manager = new redis.RedisConnectionManager({ url, reconnect: { maxDelayMs: 100 } });
  const bus = new redis.MessageBus(manager);
  await bus.subscribe(
    't',
    async ({ payload }, { attempt, signal }) => {
      emit({ begin: payload, attempt });
      signal.addEventListener('abort', () => emit({ aborted: payload, kind: signal.reason.redisErrorKind }));
      if (mode === 'fail') throw new Error('failed in a process');
      if (mode === 'hold' && payload === 'held') await new Promise(() => {});
      if (mode === 'block') {
        const until = Date.now() + delayMs;
        while (Date.now() < until);
      }
      emit({ end: payload });
    },
    { group: 'g', claimAfterMs, retry: { minDelayMs: delayMs, maxDelayMs: delayMs + 1 } },
  );
  emit('ready');
}

interface Got {
  payload: unknown;
  attempt: number;
  lastError: string | undefined;
}

async function collect(bus: MessageBus, claimAfterMs: number): Promise<Got[]> {
  const got: Got[] = [];
  await bus.subscribe('t', ({ payload, lastError }, { attempt }) => void got.push({ payload, attempt, lastError }), {
    group: 'g',
    claimAfterMs,
    retry: SOON,
  });
  return got;
}

it('takes over what a process had in hand that was killed, once, and says so', async () => {
  const server = await rig.server();
  const child = startProcess(consumer, { args: { url: server.url, claimAfterMs: 400, mode: 'hold' } });
  await child.line((line) => line === 'ready');
  const bus = new MessageBus(rig.manager(server.url));
  for (const payload of ['held', 'behind', 'other'])
    await bus.publish('t', payload, { durable: true, key: payload === 'other' ? 'o' : 'k' });
  await child.line((line) => (line as { begin?: string }).begin === 'held');
  await child.kill9();
  const got = await collect(bus, 400);
  await until(() => got.length === 3, { what: 'all three' });
  expect(got.find(({ payload }) => payload === 'held')).toMatchObject({ attempt: 2, lastError: expect.stringContaining('claimAfterMs') });
  expect(got.findIndex(({ payload }) => payload === 'held')).toBeLessThan(got.findIndex(({ payload }) => payload === 'behind'));
  await until(async () => String(await server.cli('XINFO', 'CONSUMERS', STREAM, 'g')).split('name').length === 3, {
    what: 'one consumer, and ~waiting, to be left',
  });
  await bus.close();
});

it('does not take over from a process whose event loop is blocked for longer than claimAfterMs', async () => {
  const server = await rig.server();
  const child = startProcess(consumer, { args: { url: server.url, claimAfterMs: 400, mode: 'block', delayMs: 2_500 } });
  await child.line((line) => line === 'ready');
  const bus = new MessageBus(rig.manager(server.url));
  await bus.publish('t', 'x', { durable: true });
  await child.line((line) => (line as { begin?: string }).begin === 'x');
  const got = await collect(bus, 400);
  await child.line((line) => (line as { end?: string }).end === 'x');
  await until(async () => pendingOf(await server.cli('XPENDING', STREAM, 'g')) === 0, { what: 'it to be acknowledged' });
  expect(got).toEqual([]);
  await bus.close();
  await child.kill9();
});

it('takes over from a frozen process, whose handler learns of it; then it goes on under another name', async () => {
  const server = await rig.server();
  const child = startProcess(consumer, { args: { url: server.url, claimAfterMs: 400, mode: 'hold' } });
  await child.line((line) => line === 'ready');
  const bus = new MessageBus(rig.manager(server.url));
  await bus.publish('t', 'held', { durable: true });
  await child.line((line) => (line as { begin?: string }).begin === 'held');
  await child.freeze();
  const got = await collect(bus, 400);
  await until(() => got.length === 1, { what: 'the message to be taken over' });
  expect(got).toMatchObject([{ payload: 'held', attempt: 2 }]);
  await bus.close();
  child.thaw();
  await child.line((line) => (line as { aborted?: string; kind?: string }).kind === 'lease-lost');
  const later = new MessageBus(rig.manager(server.url));
  await later.publish('t', 'more', { durable: true });
  // Its one hand is still full with what it lost: the new one waits for a consumer with a free hand.
  const rest = await collect(later, 400);
  await until(() => rest.length === 1, { what: 'the next message' });
  await child.kill9();
  await later.close();
});

it('keeps retries when the process that failed is killed', async () => {
  const server = await rig.server();
  const child = startProcess(consumer, { args: { url: server.url, claimAfterMs: 30_000, mode: 'fail', delayMs: 600 } });
  await child.line((line) => line === 'ready');
  const bus = new MessageBus(rig.manager(server.url));
  await bus.publish('t', 'x', { durable: true });
  await child.line((line) => (line as { begin?: string }).begin === 'x');
  await until(async () => Number(await server.cli('ZCARD', '~due:{t}:g')) === 1, { what: 'the retry to be kept' });
  await child.kill9();
  const got = await collect(bus, 30_000);
  await until(() => got.length === 1, { what: 'the retry' });
  expect(got).toEqual([{ payload: 'x', attempt: 2, lastError: 'failed in a process' }]);
  await bus.close();
});

it('resumes after the server was killed and came back, with everything that was pending', async () => {
  const server = await rig.server({ durable: true });
  const manager = rig.manager({ url: server.url, reconnect: { maxDelayMs: 50 } });
  const bus = new MessageBus(manager);
  const got: Got[] = [];
  let fail = true;
  await bus.subscribe(
    't',
    ({ payload, lastError }, { attempt }) => {
      got.push({ payload, attempt, lastError });
      if (fail) throw new Error('before');
    },
    { group: 'g', concurrency: 10, retry: { minDelayMs: 500, maxDelayMs: 501 } },
  );
  for (const n of [0, 1, 2]) await bus.publish('t', n, { durable: true, key: `${n}` });
  await until(() => got.length === 3, { what: 'the first attempts' });
  await until(async () => Number(await server.cli('ZCARD', '~due:{t}:g')) === 3, { what: 'the retries to be kept' });
  fail = false;
  await server.kill9();
  await server.restart();
  await until(() => got.length === 6, { timeoutMs: PATIENCE_MS, what: () => `the retries; got ${JSON.stringify(got)}` });
  expect(got.slice(3).every(({ attempt, lastError }) => attempt === 2 && lastError === 'before')).toBe(true);
  await bus.publish('t', 'after', { durable: true });
  await until(() => got.length === 7, { what: 'a message after the restart' });
  await bus.close();
});

it('handles again, and says so, what a server that came back older believes to be in hand', async () => {
  const server = await rig.server();
  const bus = new MessageBus(rig.manager({ url: server.url, reconnect: { maxDelayMs: 50 } }));
  const got: Got[] = [];
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await bus.subscribe(
    't',
    async ({ payload, lastError }, { attempt }) => {
      got.push({ payload, attempt, lastError });
      await held;
    },
    { group: 'g', retry: SOON },
  );
  await bus.publish('t', 'first', { durable: true, key: 'k' });
  await bus.publish('t', 'second', { durable: true, key: 'k' });
  await until(() => got.length === 1, { what: 'the message to be in hand' });
  await server.cli('SAVE');
  release();
  await until(async () => got.length === 2 && pendingOf(await server.cli('XPENDING', STREAM, 'g')) === 0, { what: 'both to be done' });
  await server.kill9();
  await server.restart();
  await until(() => got.length === 4, { what: () => `both again; got ${JSON.stringify(got)}` });
  expect(got.slice(2)).toMatchObject([
    { payload: 'first', attempt: 2 },
    { payload: 'second', attempt: expect.any(Number) },
  ]);
  await bus.close();
});

it('makes its group anew on a server that came back empty', async () => {
  const server = await rig.server();
  const bus = new MessageBus(rig.manager({ url: server.url, reconnect: { maxDelayMs: 50 } }));
  const got = await collect(bus, 600);
  await bus.publish('t', 'before', { durable: true });
  await until(() => got.length === 1, { what: 'a message' });
  await server.kill9();
  await server.restart();
  await until(
    () =>
      bus.publish('t', 'after', { durable: true }).then(
        () => true,
        () => false,
      ),
    { what: 'the server to take a message' },
  );
  await until(() => got.some(({ payload }) => payload === 'after'), { what: 'the message after the restart' });
  await bus.close();
});

it('loses no message whose way to the consumer was cut, and begins none twice without saying so', async () => {
  const server = await rig.server();
  const proxy = await rig.proxy(server, { seed: 42 });
  const publisher = new MessageBus(rig.manager(server.url));
  const bus = new MessageBus(rig.manager({ url: proxy.url, commandTimeoutMs: 1_000, reconnect: { minDelayMs: 5, maxDelayMs: 20 } }));
  const attempts = new Map<unknown, number[]>();
  await bus.subscribe<number>(
    't',
    ({ payload }, { attempt }) => {
      attempts.set(payload, [...(attempts.get(payload) ?? []), attempt]);
    },
    { group: 'g', concurrency: 5, retry: { ...SOON, maxAttempts: 1_000 } },
  );
  for (let round = 0; round < 8; round++) {
    const before = proxy.counters.accepted;
    const way = round % 2 === 0 ? 'dropAfterBytes' : 'cutAfterBytes';
    proxy.set({ down: { [way]: [0, 3_000] } });
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => publisher.publish('t', round * 20 + n, { durable: true, key: n % 3 ? `${n % 3}` : undefined })),
    );
    await until(() => proxy.counters.accepted > before, { what: 'the consumer to connect again' });
  }
  proxy.heal();
  await until(() => attempts.size === 160, { timeoutMs: PATIENCE_MS, what: () => `160 messages; got ${attempts.size}` });
  await until(async () => pendingOf(await server.cli('XPENDING', STREAM, 'g')) === 0, { what: 'nothing to be pending' });
  for (const [payload, seen] of attempts) {
    expect(seen, `message ${payload}`).toEqual([...new Set(seen)].sort((a, b) => a - b));
  }
  await Promise.all([bus.close(), publisher.close()]);
});

it('asks nothing of the server while there is nothing to do, and has no connection that blocks', async () => {
  const server = await rig.server();
  const manager = rig.manager(server.url);
  const bus = new MessageBus(manager);
  const got = await collect(bus, 30_000);
  await bus.publish('t', 'x', { durable: true });
  await until(async () => got.length === 1 && pendingOf(await server.cli('XPENDING', STREAM, 'g')) === 0, {
    what: 'the message to be done',
  });
  const calls = async () => (await server.calls('evalsha')) + (await server.calls('xreadgroup'));
  const before = await calls();
  const begin = performance.now();
  await until(() => performance.now() - begin > 4_000, { what: 'four seconds' });
  expect((await calls()) - before).toBeLessThanOrEqual(2);
  expect(await server.info('blocked_clients')).toBe('0');
  expect(await server.clients()).toHaveLength(2);
  await bus.close();
});

it('serves durable topics on a cluster', async () => {
  const nodes = await startCluster(3);
  try {
    const url = nodes[0]?.url.replace('redis:', 'redis+cluster:') as string;
    const manager = rig.manager(url);
    const bus = new MessageBus(manager);
    const topics = ['a', 'b', 'c', 'orders:{42}:x', 'd e'];
    const got: string[] = [];
    for (const topic of topics) {
      await bus.subscribe(
        topic,
        (_, { attempt, topic: of }) => {
          if (attempt === 1) throw new Error('again');
          got.push(of);
        },
        { group: 'g', retry: SOON },
      );
    }
    for (const topic of topics) await bus.publish(topic, topic, { durable: true, key: 'k' });
    await until(() => got.length === topics.length, { what: () => `a message of each topic; got ${got}` });
    for (const topic of topics) {
      for (let n = 0; n < 2; n++) await bus.publish(topic, topic, { durable: true, id: 'once' });
      expect((await bus.groups(topic)).map(({ name, consumers }) => [name, consumers])).toEqual([['g', 1]]);
    }
    await until(() => got.length === 2 * topics.length, { what: () => `one more of each topic; got ${got}` });
    await bus.close();
    const after = new MessageBus(manager);
    for (const topic of topics) expect([await after.removeGroup(topic, 'g'), await after.groups(topic)]).toEqual([true, []]);
    await after.close();
    await manager.disconnect();
  } finally {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  }
});

function pendingOf(summary: unknown): number {
  return Number((summary as unknown[])[0]);
}
