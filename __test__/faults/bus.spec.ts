/** Live subscriptions while connections end, fall silent and come back. */
import { execFileSync } from 'node:child_process';
import { MessageBus } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { arrive, collectFrom, listenTo } from '../support/live-bus.ts';
import { Random } from '../support/random.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { durationOf, PATIENCE_MS, recordEvents, useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until, within } from '../support/until.ts';

const rig = useRig();
const FAST = { minDelayMs: 5, maxDelayMs: 100 };

/** Kills the connections that subscribe. */
const killSubscribers = (server: RedisServer) => server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub');

describe('a server killed with -9', () => {
  it('and back: every subscription is, before ready() resolves, and gap says which and for how long', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: FAST });
    const bus = new MessageBus(manager);
    const events = listenTo(bus);
    const got = await Promise.all(['a', 'b', 'c'].map((topic) => collectFrom<number>(bus, topic)));
    await bus.psubscribe<number>('d*', (message, context) => void got[0]?.push([message, context]));
    await bus.publish('a', 1);
    await arrive(got[0] as unknown[], 1);
    const began = performance.now();
    await server.kill9();
    await until(() => manager.state === 'reconnecting', { what: 'the loss to be noticed' });
    await server.restart();
    await within(PATIENCE_MS, bus.ready());
    const outage = performance.now() - began;
    for (const topic of ['a', 'b', 'c', 'dd']) expect(await bus.publish(topic, 2)).toBe(1);
    await arrive(got[0] as unknown[], 3);
    await arrive(got[1] as unknown[], 1);
    await arrive(got[2] as unknown[], 1);
    expect(events.gap.map(({ topic, pattern }) => [topic, pattern]).sort()).toEqual([
      ['a', undefined],
      ['b', undefined],
      ['c', undefined],
      ['d*', 'd*'],
    ]);
    for (const { durationMs } of events.gap) {
      expect(durationMs).toBeGreaterThanOrEqual(0);
      expect(durationMs).toBeLessThanOrEqual(outage + 1);
    }
    expect(manager.metrics()).toMatchObject({ redis_bus_gaps_total: 4, redis_bus_subscriptions: 4 });
  });

  it('and gone for seconds: subscriptions are back within the bound of the backoff', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: { minDelayMs: 10, maxDelayMs: 500 }, commandTimeoutMs: 10_000 });
    const bus = new MessageBus(manager);
    const events = listenTo(bus);
    const got = await collectFrom(bus, 't');
    await server.kill9();
    const tried = recordEvents(manager).reconnecting;
    await until(() => tried.length >= 12, { timeoutMs: PATIENCE_MS, what: 'a dozen attempts' });
    expect(Math.max(...tried.map(({ delayMs }) => delayMs))).toBeLessThanOrEqual(500);
    await server.restart();
    const back = await durationOf(bus.ready());
    expect(back).toBeLessThan(3_000);
    expect(await bus.publish('t', 1)).toBe(1);
    await arrive(got, 1);
    expect(events.gap.length).toBe(1);
  });
});

describe('CLIENT KILL of the connection that subscribes', () => {
  it('is repaired at once, again and again, and commands do not notice', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, reconnect: FAST });
    const bus = new MessageBus(manager);
    const events = listenTo(bus);
    const got = await collectFrom<number>(bus, 't');
    for (let round = 1; round <= 10; round++) {
      expect(await killSubscribers(server)).toBe(1);
      await until(() => events.gap.length === round, { what: () => `gap ${round}; got ${events.gap.length}` });
      await bus.ready();
      expect(await bus.publish('t', round)).toBe(1);
      await arrive(got, round);
    }
    expect(got.map(([{ payload }]) => payload)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(manager.state).toBe('ready');
  });

  it('rejects requests that wait for a reply with kind connection, and the next one works', async () => {
    const server = await rig.server();
    const bus = new MessageBus(rig.manager({ url: server.url, reconnect: FAST }));
    const responder = new MessageBus(rig.manager({ url: server.url, reconnect: FAST }));
    let asked = 0;
    await responder.respond<boolean, string>('ask', async (answer) => {
      asked++;
      if (!answer) await new Promise(() => {});
      return 'answer';
    });
    const waiting = Array.from({ length: 5 }, () => failureOf(bus.request('ask', false, { timeoutMs: 60_000 })));
    await until(() => asked === 5, { what: 'the requests to arrive' });
    await killSubscribers(server);
    for (const error of await within(PATIENCE_MS, Promise.all(waiting))) {
      expect([error.redisErrorKind, error.delivery]).toEqual(['connection', 'maybe-executed']);
    }
    await responder.ready();
    expect(await bus.request('ask', true)).toBe('answer');
  });
});

describe('a half-open connection', () => {
  it('of an idle subscriber is noticed within 2 × keepAliveMs, and repaired when the network is', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const keepAliveMs = 300;
    const sub = rig.manager({ url: proxy.url, keepAliveMs, connectTimeoutMs: 200, reconnect: FAST });
    const pub = rig.manager(server.url);
    const bus = new MessageBus(pub, { subscriber: sub });
    const events = listenTo(bus);
    const got = await collectFrom<number>(bus, 't');
    // Each of the manager's two connections notices for itself.
    expect([sub.state, sub.isConnected()]).toEqual(['ready', true]);
    let [errors, noticed] = [0, 0];
    sub.on('error', () => {
      errors++;
      if (errors === 2) noticed = performance.now();
    });
    const since = performance.now();
    proxy.set({ up: { blackHole: true }, down: { blackHole: true } });
    // Lost in the hole, before anyone can know of it.
    expect(await bus.publish('t', 0)).toBe(1);
    await until(() => noticed > 0, { what: 'the loss to be noticed' });
    expect(noticed - since).toBeLessThan(stretched(2 * keepAliveMs + 150));
    proxy.heal();
    proxy.reset();
    await until(() => events.gap.length === 1, { timeoutMs: PATIENCE_MS, what: 'the gap' });
    // The gap begins where the silence did, not where it was noticed.
    const outage = performance.now() - since;
    expect(events.gap[0]?.durationMs).toBeGreaterThan(noticed - since - keepAliveMs / 2);
    expect(events.gap[0]?.durationMs).toBeLessThan(outage + keepAliveMs + 50);
    expect(await bus.publish('t', 1)).toBe(1);
    await arrive(got, 1);
    expect(got.map(([{ payload }]) => payload)).toEqual([1]);
  });
});

describe('a server that stands still', () => {
  it('is noticed, and thawing recovers every subscription', async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, keepAliveMs: 200, commandTimeoutMs: 300, connectTimeoutMs: 200, reconnect: FAST });
    const bus = new MessageBus(manager);
    const events = listenTo(bus);
    const got = await collectFrom<number>(bus, 't');
    await server.freeze();
    expect(['timeout', 'connection']).toContain((await failureOf(bus.publish('t', 0))).redisErrorKind);
    expect((await failureOf(bus.subscribe('new', () => {}))).redisErrorKind).toBe('timeout');
    await until(() => manager.metrics().redis_connection_errors_total >= 2, { timeoutMs: PATIENCE_MS, what: 'both losses' });
    server.thaw();
    await until(() => events.gap.length >= 1, { timeoutMs: PATIENCE_MS, what: 'the gap' });
    await until(() => bus.ready().then(() => true), { timeoutMs: PATIENCE_MS, what: 'ready()' });
    const before = got.length;
    await bus.publish('t', 1);
    await until(() => got.length > before, { what: 'a message' });
    // What failed to be subscribed is not.
    expect(await bus.publish('new', 1)).toBe(0);
  });
});

describe('a server that is not there', () => {
  it('makes whatever subscribes reject as fast as publish(), for the same reason, and leaves nothing behind', async () => {
    const server = await rig.server();
    await server.stop();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 60_000, reconnect: FAST });
    const bus = new MessageBus(manager);
    const published = await failureOf(bus.publish('t', 1));
    expect([published.redisErrorKind, published.delivery]).toEqual(['connection', 'not-sent']);
    for (const call of [
      () => bus.subscribe('t', () => {}),
      () => bus.psubscribe('*', () => {}),
      () => bus.subscribe('t', () => {}, { group: 'g' }),
      () => bus.request('t', 1, { timeoutMs: 60_000 }),
      () => bus.respond('t', () => 1),
      () => bus.messages('t')[Symbol.asyncIterator]().next(),
    ]) {
      const error = await within(PATIENCE_MS, failureOf(call() as Promise<unknown>));
      expect([error.redisErrorKind, error.message], String(call)).toEqual(['connection', published.message]);
    }
    await server.restart();
    const got = await collectFrom(bus, 't');
    expect(await bus.publish('t', 1)).toBe(1);
    await arrive(got, 1);
    expect(got.length).toBe(1);
    expect(manager.metrics().redis_bus_subscriptions).toBe(1);
  });

  it('and comes in time for one of connectRetries, makes no difference', async () => {
    const server = await rig.server();
    await server.stop();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 10_000, connectRetries: 1_000, reconnect: FAST });
    const bus = new MessageBus(manager);
    const subscribing = collectFrom(bus, 't');
    await until(() => manager.metrics().redis_reconnection_attempts_total >= 2, { what: 'attempts' });
    await server.restart();
    const got = await within(PATIENCE_MS, subscribing);
    expect(await bus.publish('t', 1)).toBe(1);
    await arrive(got, 1);
  });
});

describe('a user without permission', () => {
  it('is refused with kind auth, at once, by subscribe() and publish()', async () => {
    const server = await rig.server({ acl: ['limited on >secret ~* +@all resetchannels &allowed'] });
    const manager = rig.manager({ url: server.url, username: 'limited', password: 'secret' });
    const bus = new MessageBus(manager);
    const got = await collectFrom(bus, 'allowed');
    expect((await failureOf(bus.subscribe('forbidden', () => {}))).redisErrorKind).toBe('auth');
    expect((await failureOf(bus.publish('forbidden', 1))).redisErrorKind).toBe('auth');
    await bus.publish('allowed', 1);
    await arrive(got, 1);
    expect(manager.metrics().redis_bus_subscriptions).toBe(1);
  });
});

describe('a network that cuts in the middle of messages', () => {
  it('never gives a handler part of a message, one twice, or two in the wrong order', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server, { seed: 5 });
    const random = new Random(5);
    const sub = rig.manager({ url: proxy.url, reconnect: { minDelayMs: 1, maxDelayMs: 10 } });
    const bus = new MessageBus(rig.manager(server.url), { subscriber: sub });
    const events = listenTo(bus);
    const seen: number[] = [];
    await bus.subscribe<{ n: number; filler: string }>('t', ({ payload }) => {
      expect(payload.filler).toBe('x'.repeat(payload.n % 500));
      seen.push(payload.n);
    });
    let n = 0;
    for (let round = 1; round <= 25; round++) {
      proxy.set({ down: { pieceBytes: [1, 700], dropAfterBytes: random.between(200, 20_000) } });
      while (events.gap.length < round) {
        const batch = Array.from({ length: 20 }, () => bus.publish('t', { n: n++, filler: 'x'.repeat((n - 1) % 500) }));
        await Promise.all(batch);
        if (events.gap.length < round && n % 2_000 === 0) proxy.reset();
      }
    }
    proxy.heal();
    await within(PATIENCE_MS, bus.ready());
    await bus.publish('t', { n: n, filler: 'x'.repeat(n % 500) });
    await until(() => seen.at(-1) === n, { timeoutMs: PATIENCE_MS, what: 'the last message' });
    for (let at = 1; at < seen.length; at++) expect(seen[at] as number).toBeGreaterThan(seen[at - 1] as number);
    expect([events.error, events.malformed]).toEqual([[], []]);
    expect(seen.length).toBeGreaterThan(25);
  });
});

describe('a message of 64 MB', () => {
  const payload = 'x'.repeat(64 * 1024 * 1024);

  it('comes back exactly where the server lets it through', async () => {
    const server = await rig.server();
    await server.cli('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 0 0 0');
    const bus = new MessageBus(rig.manager({ url: server.url, commandTimeoutMs: 15_000 }));
    const sizes: boolean[] = [];
    await bus.subscribe<string>('t', (message) => void sizes.push(message.payload === payload));
    expect(await bus.publish('t', payload)).toBe(1);
    await arrive(sizes, 1, PATIENCE_MS);
    expect(sizes).toEqual([true]);
  });

  it('costs the subscription a gap where the server ends it for that, and nothing more', async () => {
    const server = await rig.server();
    const bus = new MessageBus(rig.manager({ url: server.url, commandTimeoutMs: 15_000, reconnect: FAST }));
    const events = listenTo(bus);
    const got: number[] = [];
    await bus.subscribe<string>('t', (message) => void got.push(message.payload.length));
    await bus.publish('t', payload);
    await until(() => events.gap.length + got.length > 0, { timeoutMs: PATIENCE_MS, what: 'a gap' });
    await bus.ready();
    await bus.publish('t', 'next');
    await until(() => got.at(-1) === 4, { what: 'the next message' });
    expect(events.gap.length).toBe(1);
  });
});

describe('a subscriber with larger bounds than those before it', () => {
  it('has what waits within its bounds sent at once, not with the next message', async () => {
    const server = await rig.server();
    const bus = new MessageBus(rig.manager(server.url));
    const got: unknown[] = [];
    let second: Promise<unknown> | undefined;
    await bus.subscribe(
      't',
      ({ payload }) => {
        got.push(payload);
        second ??= bus.subscribe('t', () => {});
      },
      { maxPending: 4 },
    );
    // The event loop stands still while they come one by one, so that they cross in several deliveries.
    for (let n = 0; n < 8; n++) execFileSync('redis-cli', ['-u', server.url, 'PUBLISH', 't', String(n)]);
    await until(() => got.length === 8, { what: () => `8 messages; got ${JSON.stringify(got)}` });
    expect(got).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    await second;
    await bus.close();
  });
});
