/** Many checkpoints in a thread, and many threads: what the server does for one question does not grow with them. */
import { CheckpointStore } from 'redis-backplane';
import { expect, it } from 'vitest';
import { startOwner, told } from '../support/checkpoint-processes.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const MANY = 100_000;
const KEEP_ALL = { keep: { last: 1_000_000 }, maxThreadBytes: 2 ** 32 };

/** Calls `make` for each number below `count`, a thousand at a time. */
async function inBatches(count: number, make: (n: number) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < count; at += 1_000) {
    await Promise.all(Array.from({ length: Math.min(1_000, count - at) }, (_, n) => make(at + n)));
  }
}

/** The processor time of the server in scripts, in µs per call, while `ask` runs; and how many commands the server executed. */
async function costOf(server: RedisServer, ask: () => Promise<unknown>): Promise<{ us: number; commands: number }> {
  await server.cli('CONFIG', 'RESETSTAT');
  await ask();
  const stats = String(await server.cli('INFO', 'commandstats'));
  const [, calls, us] = /^cmdstat_evalsha(?:_ro)?:calls=(\d+),usec=(\d+)/m.exec(stats) ?? [];
  // The harness itself calls these.
  const own = /^cmdstat_(?!config|info|auth|client|ping|hello|command)[\w|]+:calls=(\d+)/gm;
  const commands = [...stats.matchAll(own)].reduce((sum, [, count]) => sum + Number(count), 0);
  return { us: Number(us) / Number(calls), commands };
}

/**
 * The least cost of each of two questions, in µs: what else runs on the machine only adds to a cost. They are asked in turn, so that both meet the
 * same load.
 */
async function leastOf(one: () => Promise<number>, other: () => Promise<number>): Promise<[number, number]> {
  const least: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 20; round++) {
    least[0] = Math.min(least[0], await one());
    least[1] = Math.min(least[1], await other());
  }
  return least;
}

/** The cost of the latest checkpoint of a thread, over many calls. */
async function latestCost(server: RedisServer, store: CheckpointStore, thread: string): Promise<number> {
  // Before the first call the server does not know the script, and to say so costs little.
  await store.latest(thread);
  return (await costOf(server, () => inBatches(300, () => store.latest(thread)))).us;
}

it('the latest of 100 000 checkpoints costs the server at most 1.2 times that of ten', { timeout: 300_000 }, async () => {
  const server = await rig.server();
  const store = new CheckpointStore(rig.manager({ url: server.url }), KEEP_ALL);
  const state = { text: 'x'.repeat(200) };
  await inBatches(MANY, () => store.save('many', state));
  await inBatches(10, () => store.save('few', state));
  const [few, many] = await leastOf(
    () => latestCost(server, store, 'few'),
    () => latestCost(server, store, 'many'),
  );
  expect(many / few).toBeLessThanOrEqual(1.2);
  const of = async (thread: string) => (await costOf(server, () => store.latest(thread))).commands;
  expect(await of('many')).toBe(await of('few'));
  let count = 0;
  for await (const _ of store.history('many', { limit: 250 })) count++;
  expect(count).toBe(250);
});

/** A server with so many threads, of which a hundred more are interrupted. */
async function serverWith(threads: number): Promise<{ server: RedisServer; store: CheckpointStore }> {
  const server = await rig.server();
  const { url } = server;
  const store = new CheckpointStore(rig.manager({ url }), KEEP_ALL);
  await inBatches(threads, (n) => store.save(`t${n}`, { n }));
  const owner = startOwner({ url, threads: Array.from({ length: 100 }, (_, n) => `owned-${n}`), leaseMs: 1_000 });
  await until(() => told(owner, 'owns').length === 100, { what: 'the owned threads', timeoutMs: 20_000 });
  await owner.kill9();
  await until(async () => (await store.interrupted()).length === 100, { what: 'all to be interrupted', timeoutMs: 15_000 });
  return { server, store };
}

it('among 100 000 threads the latest and what is interrupted cost what they cost among ten', { timeout: 300_000 }, async () => {
  const [few, many] = [await serverWith(10), await serverWith(MANY)];
  const latest = await leastOf(
    () => latestCost(few.server, few.store, 't5'),
    () => latestCost(many.server, many.store, 't5'),
  );
  expect(latest[1] / latest[0]).toBeLessThanOrEqual(1.2);
  const ask = ({ server, store }: typeof few) => costOf(server, () => store.interrupted());
  // No more commands, of which each costs a logarithm at most.
  const commands = [(await ask(few)).commands, (await ask(many)).commands] as const;
  expect(commands[1]).toBeLessThanOrEqual(commands[0]);
  expect(commands[1]).toBeGreaterThan(100);
  const interrupted = await leastOf(
    () => ask(few).then(({ us }) => us),
    () => ask(many).then(({ us }) => us),
  );
  expect(interrupted[1] / interrupted[0]).toBeLessThanOrEqual(1.5);
  let threads = 0;
  for await (const _ of many.store.threads()) threads++;
  expect(threads).toBe(MANY + 100);
});
