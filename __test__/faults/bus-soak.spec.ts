/**
 * Live messages while everything breaks at random; then the books are compared: every message that a subscriber missed lies in a gap it
 * was told of, and none came twice, in part or out of order.
 *
 * `SOAK_MS` is how long faults are injected (default 8 000), `SOAK_SEED` what chooses them (default 20 261).
 */
import { MessageBus } from 'redis-backplane';
import { expect, it } from 'vitest';
import { listenTo } from '../support/live-bus.ts';
import { Random } from '../support/random.ts';
import { useRig } from '../support/rig.ts';
import { until, within } from '../support/until.ts';

const rig = useRig();
const SOAK_MS = Number(process.env.SOAK_MS ?? 8_000);
const SEED = Number(process.env.SOAK_SEED ?? 20_261);
const TOPICS = ['a', 'b', 'c', 'd', 'e'];
/** How far a time here and the one it is compared with may be apart on a busy machine. */
const SLACK_MS = 250;

interface Sent {
  n: number;
  from: number;
  to: number;
}

it('a soak of faults: what is missed was said to be, and nothing else goes wrong', { timeout: SOAK_MS + 60_000 }, async () => {
  const server = await rig.server();
  const proxy = await rig.proxy(server, { seed: SEED });
  const random = new Random(SEED);
  const config = { commandTimeoutMs: 2_000, connectTimeoutMs: 300, keepAliveMs: 200, reconnect: { minDelayMs: 2, maxDelayMs: 60 } };
  const publisher = new MessageBus(rig.manager({ ...config, url: server.url, connectRetries: 1_000 }));
  const managers = [proxy.url, server.url, proxy.url].map((url) => rig.manager({ ...config, url }));
  const subscribers = managers.map((manager) => {
    const bus = new MessageBus(manager);
    const gaps: { topic: string; from: number; to: number }[] = [];
    bus.on('gap', ({ topic, durationMs }) => {
      const to = performance.now();
      gaps.push({ topic, from: to - durationMs - SLACK_MS, to: to + SLACK_MS });
    });
    return { bus, events: listenTo(bus), gaps, got: new Map<string, number[]>() };
  });
  const wrong: string[] = [];
  const take = (got: Map<string, number[]>, name: string, n: number) => {
    const list = got.get(name) ?? [];
    got.set(name, list);
    if (n <= (list.at(-1) ?? -1)) wrong.push(`${name}: ${n} after ${list.at(-1)}`);
    list.push(n);
  };
  for (const { bus, got } of subscribers) {
    for (const topic of TOPICS) await bus.subscribe<Sent>(topic, ({ payload }) => take(got, topic, payload.n));
    await bus.psubscribe<Sent>('[a-e]', ({ payload }, { topic, pattern }) => take(got, `${pattern} ${topic}`, payload.n));
  }

  let running = true;
  const sent = new Map<string, Sent[]>(TOPICS.map((topic) => [topic, []]));
  const counts = { published: 0, failed: 0, churned: 0 };
  const publish = async (topic: string) => {
    for (let n = 0; running; n++) {
      const from = performance.now();
      try {
        await publisher.publish(topic, { n });
        sent.get(topic)?.push({ n, from, to: performance.now() });
        counts.published++;
      } catch {
        counts.failed++;
      }
    }
  };
  const churn = async (bus: MessageBus) => {
    while (running) {
      const topic = random.pick([...TOPICS, 'f', 'g']);
      const end = await bus.subscribe(topic, () => {}).catch(() => undefined);
      await end?.();
      counts.churned++;
    }
  };
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const faults: Record<string, () => Promise<unknown>> = {
    kill: () => server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub'),
    reset: async () => proxy.reset(),
    cut: async () => proxy.cut(),
    midFrame: async () => proxy.set({ down: { pieceBytes: [1, 300], dropAfterBytes: random.between(1, 5_000) } }),
    hole: async () => {
      proxy.set({ up: { blackHole: true }, down: { blackHole: true } });
      await pause(random.between(50, 700));
      proxy.reset();
    },
    freeze: async () => {
      await server.freeze();
      await pause(random.between(50, 500));
      server.thaw();
    },
    crash: async () => {
      await server.kill9();
      await pause(random.between(0, 200));
      await server.restart();
    },
  };
  const injected: Record<string, number> = {};
  const inject = async () => {
    const end = performance.now() + SOAK_MS;
    while (performance.now() < end) {
      const name = random.pick(Object.keys(faults));
      injected[name] = (injected[name] ?? 0) + 1;
      await faults[name]?.();
      await pause(random.between(20, 300));
      proxy.heal();
    }
  };
  const work = Promise.all([...TOPICS.map(publish), ...subscribers.map(({ bus }) => churn(bus))]);
  await inject();
  await Promise.all(
    [publisher, ...subscribers.map(({ bus }) => bus)].map((bus) =>
      until(() => bus.ready().then(() => true), { timeoutMs: 20_000, what: 'ready()' }),
    ),
  );
  running = false;
  await within(20_000, work, 'publishers and churn to end');
  for (const topic of TOPICS) expect(await publisher.publish(topic, { n: 1e9 })).toBe(subscribers.length * 2);
  const names = TOPICS.flatMap((topic) => [topic, `[a-e] ${topic}`]);
  for (const { got } of subscribers) {
    await until(() => names.every((name) => got.get(name)?.at(-1) === 1e9), { what: 'the last message of each topic' });
  }

  let missed = 0;
  for (const [at, { gaps, got, events }] of subscribers.entries()) {
    for (const topic of TOPICS) {
      for (const [name, told] of [
        [topic, topic],
        [`[a-e] ${topic}`, '[a-e]'],
      ] as const) {
        const have = new Set(got.get(name));
        for (const { n, from, to } of sent.get(topic) as Sent[]) {
          if (have.has(n)) continue;
          missed++;
          if (!gaps.some((gap) => gap.topic === told && gap.from <= to && from <= gap.to)) {
            wrong.push(`subscriber ${at} missed ${n} of ${name} outside of every gap`);
          }
        }
      }
    }
    expect([events.error, events.malformed]).toEqual([[], []]);
  }
  const summary = JSON.stringify({ seed: SEED, injected, ...counts, missed, gaps: subscribers.map(({ gaps }) => gaps.length) });
  expect(wrong.slice(0, 10), summary).toEqual([]);
  expect(counts.published, summary).toBeGreaterThan(SOAK_MS / 10);
  for (const manager of managers) expect(manager.metrics().redis_bus_subscriptions).toBe(TOPICS.length + 1);
  await Promise.all(subscribers.map(({ bus }) => bus.close()));
  await until(async () => ((await server.cli('PUBSUB', 'CHANNELS')) as string[]).length === 0, { what: 'no channel to be subscribed' });
  console.info(summary);
});
