/**
 * Producers and consumers in processes of their own, killed and brought back at random, while the server is killed and connections
 * are cut. Then the books are compared with the model: a message is one of a key; each group must have finished every message that was
 * published and acknowledged, none of a key before the one ahead of it (one key of each producer is left out of that), and each time it began one again it must have been told.
 *
 * `SOAK_MS` is how long things are broken (default 10 000), `SOAK_SEED` what chooses how (default 20 261 121).
 */
import { RedisConnectionManager } from 'redis-backplane';
import { expect, it } from 'vitest';
import { type Child, type ChildContext, startProcess } from '../support/process.ts';
import { Random } from '../support/random.ts';
import { useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const SOAK_MS = Number(process.env.SOAK_MS ?? 10_000);
const SEED = Number(process.env.SOAK_SEED ?? 20_261_121);
const GROUPS = ['billing', 'mail'];
const CONSUMERS_OF_GROUP = 3;
const PRODUCERS = 2;
const KEYS = 6;
const LIMIT_MS = SOAK_MS + 100_000;

/** A producer's word: it published number `n` of a key, or does not know whether it did. */
interface Published {
  key: string;
  n: number;
  sure: boolean;
}

/** A consumer's word, with the machine's clock. */
interface Handled {
  what: 'begin' | 'end';
  group: string;
  key: string;
  n: number;
  attempt: number;
  at: number;
}

interface ProducerArgs {
  url: string;
  name: string;
  keys: number;
}

interface ConsumerArgs {
  url: string;
  group: string;
  seed: number;
}

async function produce({ redis, emit, args }: ChildContext<ProducerArgs>): Promise<void> {
  const manager = new redis.RedisConnectionManager({
    url: args.url,
    commandTimeoutMs: 2_000,
    reconnect: { minDelayMs: 5, maxDelayMs: 100 },
  });
  const bus = new redis.MessageBus(manager);
  process.on('SIGTERM', () => {
    stopping = true;
  });
  let stopping = false;
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await Promise.all(
    Array.from({ length: args.keys }, async (_, of) => {
      const key = `${args.name}/${of}`;
      for (let n = 0; !stopping; n++) {
        // Those of the first key are published without it: they may come in any order.
        const sure = await bus.publish('soak', { key, n }, { durable: true, key: of === 0 ? undefined : key }).then(
          () => true,
          () => false,
        );
        emit({ key, n, sure });
        await pause(sure ? 4 : 50);
      }
    }),
  );
  await bus.close();
  await manager.disconnect();
  process.exit(0);
}

async function consume({ redis, emit, args }: ChildContext<ConsumerArgs>): Promise<void> {
  const manager = new redis.RedisConnectionManager({
    url: args.url,
    commandTimeoutMs: 2_000,
    keepAliveMs: 500,
    reconnect: { minDelayMs: 5, maxDelayMs: 100 },
  });
  const bus = new redis.MessageBus(manager);
  const clock = () => Number(process.hrtime.bigint() / 1_000n);
  let state = args.seed;
  const chance = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 4_294_967_296;
  };
  const subscribe = () =>
    bus.subscribe<{ key: string; n: number }>(
      'soak',
      async ({ payload: { key, n } }, { attempt }) => {
        const { group } = args;
        emit({ what: 'begin', group, key, n, attempt, at: clock() });
        await new Promise((resolve) => setTimeout(resolve, chance() * 8));
        if (chance() < 0.05) throw new Error('chance');
        emit({ what: 'end', group, key, n, attempt, at: clock() });
      },
      {
        group: args.group,
        from: 'start',
        concurrency: 8,
        claimAfterMs: 4_000,
        retry: { maxAttempts: 1_000, minDelayMs: 20, maxDelayMs: 200 },
      },
    );
  // The server may be away just now.
  for (;;) {
    const unsubscribe = await subscribe().catch(() => undefined);
    if (unsubscribe === undefined) continue;
    process.on('SIGTERM', async () => {
      await unsubscribe();
      await manager.disconnect();
      process.exit(0);
    });
    return;
  }
}

it('a soak of durable topics: what is published and acknowledged is handled, in order of key, and told when it is again', {
  timeout: LIMIT_MS + 20_000,
}, async () => {
  const server = await rig.server({ durable: true });
  const proxy = await rig.proxy(server, { seed: SEED });
  const random = new Random(SEED);
  const published: Published[] = [];
  const handled: Handled[] = [];
  const counts: Record<string, number> = {};
  const ended: Child[] = [];

  let serial = 0;
  const url = () => (random.next() < 0.5 ? server.url : proxy.url);
  const producer = () => {
    serial += 1;
    return startProcess(produce, { args: { url: url(), name: `p${serial}`, keys: KEYS }, timeoutMs: LIMIT_MS });
  };
  const consumer = (group: string) => {
    serial += 1;
    return startProcess(consume, { args: { url: url(), group, seed: SEED + serial }, timeoutMs: LIMIT_MS });
  };
  const producers = Array.from({ length: PRODUCERS }, producer);
  const consumers = GROUPS.flatMap((group) => Array.from({ length: CONSUMERS_OF_GROUP }, () => ({ group, child: consumer(group) })));

  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const faults: [name: string, weight: number, inject: () => Promise<void>][] = [
    [
      'consumer killed',
      6,
      async () => {
        const place = random.pick(consumers);
        ended.push(place.child);
        await place.child.kill9();
        await pause(random.between(0, 200));
        place.child = consumer(place.group);
      },
    ],
    [
      'consumer ended',
      3,
      async () => {
        const place = random.pick(consumers);
        ended.push(place.child);
        process.kill(place.child.pid, 'SIGTERM');
        place.child = consumer(place.group);
      },
    ],
    [
      'producer killed',
      3,
      async () => {
        const place = random.between(0, producers.length - 1);
        const child = producers[place] as Child;
        ended.push(child);
        await child.kill9();
        producers[place] = producer();
      },
    ],
    [
      'server killed',
      2,
      async () => {
        await server.kill9();
        await pause(random.between(0, 200));
        await server.restart();
      },
    ],
    ['connections reset', 2, async () => proxy.reset()],
    [
      'replies cut',
      3,
      async () => {
        proxy.set({ down: { cutAfterBytes: random.between(0, 5_000) } });
        await pause(150);
        proxy.set({});
      },
    ],
    [
      'replies dropped',
      3,
      async () => {
        proxy.set({ down: { dropAfterBytes: random.between(0, 2_000) } });
        await pause(150);
        proxy.set({});
      },
    ],
    ['scripts flushed', 1, async () => void (await server.cli('SCRIPT', 'FLUSH'))],
  ];
  const bag = faults.flatMap((fault) => Array.from({ length: fault[1] }, () => fault));

  await until(() => consumers.every(({ child }) => child.lines.length > 0), { timeoutMs: 30_000, what: 'every consumer to have begun' });
  const until_ = performance.now() + SOAK_MS;
  while (performance.now() < until_) {
    const [name, , inject] = random.pick(bag);
    counts[name] = (counts[name] ?? 0) + 1;
    await inject();
    await pause(random.between(50, 400));
  }

  proxy.set({});
  for (const child of producers) process.kill(child.pid, 'SIGTERM');
  await Promise.all(producers.map((child) => child.ended));
  const books = () => {
    published.length = 0;
    handled.length = 0;
    for (const child of [...ended, ...producers, ...consumers.map(({ child: one }) => one)]) {
      for (const line of child.lines) ('sure' in (line as object) ? published : handled).push(line as never);
    }
  };
  const finished = (group: string) => new Set(handled.filter((one) => one.what === 'end' && one.group === group).map(nameOf));
  const missing = () => {
    books();
    return GROUPS.flatMap((group) => {
      const done = finished(group);
      return published.filter((one) => one.sure && !done.has(nameOf(one))).map((one) => `${group}: ${nameOf(one)}`);
    });
  };
  await until(() => missing().length === 0, {
    timeoutMs: 60_000,
    what: () =>
      `every message to be handled; seed ${SEED}, ${JSON.stringify(counts)}; missing: ${missing().slice(0, 10)} of ${missing().length}`,
  });

  const watching = new RedisConnectionManager(server.url);
  await until(
    async () => (await watching.command<{ pending: number }[]>('XINFO', 'GROUPS', '~stream:{soak}')).every((info) => pendingOf(info) === 0),
    { timeoutMs: 20_000, what: 'nothing to be pending' },
  );
  await watching.disconnect();
  for (const { child } of consumers) process.kill(child.pid, 'SIGTERM');
  await Promise.all(consumers.map(({ child }) => child.ended));
  books();

  const wrong = GROUPS.flatMap((group) => mistakes(handled.filter((one) => one.group === group)));
  const again = handled.filter((one) => one.what === 'begin' && one.attempt > 1).length;
  console.info(
    `seed ${SEED}: ${JSON.stringify(counts)}; published ${published.filter(({ sure }) => sure).length}, perhaps ${published.filter(({ sure }) => !sure).length}; begun ${handled.filter(({ what }) => what === 'begin').length}, again ${again}; wrong ${wrong.length}`,
  );
  expect(wrong.slice(0, 20), `seed ${SEED}`).toEqual([]);
  expect(again).toBeGreaterThan(0);
});

function nameOf({ key, n }: { key: string; n: number }): string {
  return `${key}#${n}`;
}

function pendingOf(info: unknown): number {
  return Array.isArray(info) ? info[info.indexOf('pending') + 1] : (info as { pending: number }).pending;
}

/** What one group did that it must not. */
function mistakes(handled: Handled[]): string[] {
  const wrong: string[] = [];
  const byKey = new Map<string, Handled[]>();
  for (const one of handled) byKey.set(one.key, [...(byKey.get(one.key) ?? []), one]);
  for (const [key, of] of byKey) {
    of.sort((a, b) => a.at - b.at);
    const attempts = new Map<number, number>();
    const done = new Set<number>();
    let highest = -1;
    for (const { what, n, attempt, at } of of) {
      if (what === 'end') {
        done.add(n);
        continue;
      }
      const before = attempts.get(n);
      if (before !== undefined && attempt <= before) wrong.push(`${key}#${n} at ${at}: attempt ${attempt} after ${before}`);
      attempts.set(n, attempt);
      // The first time that it begins, all that is ahead of it must be done.
      if (before === undefined && !key.endsWith('/0')) {
        if (n < highest) wrong.push(`${key}#${n} at ${at}: begun after ${highest}`);
        for (const ahead of attempts.keys())
          if (ahead < n && !done.has(ahead)) wrong.push(`${key}#${n} at ${at}: begun before ${ahead} was done`);
        highest = Math.max(highest, n);
      }
    }
  }
  return wrong;
}
