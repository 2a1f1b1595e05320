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

/** The least cost of several measurements: what else runs on the machine only adds to it. */
async function leastOf(rounds: number, measure: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) least = Math.min(least, await measure());
  return least;
}

it('the latest of 100 000 checkpoints costs the server at most 1.2 times that of ten', { timeout: 300_000 }, async () => {
  const server = await rig.server();
  const store = new CheckpointStore(rig.manager({ url: server.url }), KEEP_ALL);
  const state = { text: 'x'.repeat(200) };
  await inBatches(MANY, () => store.save('many', state));
  await inBatches(10, () => store.save('few', state));
  const cost = (thread: string) => () => costOf(server, () => inBatches(500, () => store.latest(thread))).then(({ us }) => us);
  await cost('many')();
  const few: number[] = [];
  const many: number[] = [];
  for (let round = 0; round < 5; round++) {
    few.push(await leastOf(3, cost('few')));
    many.push(await leastOf(3, cost('many')));
  }
  expect(Math.min(...many) / Math.min(...few)).toBeLessThanOrEqual(1.2);
  const of = async (thread: string) => (await costOf(server, () => store.latest(thread))).commands;
  expect(await of('many')).toBe(await of('few'));
  let count = 0;
  for await (const _ of store.history('many', { limit: 250 })) count++;
  expect(count).toBe(250);
});

it('among 100 000 threads the latest and what is interrupted cost what they cost among ten', { timeout: 300_000 }, async () => {
  const [few, many] = [await rig.server(), await rig.server()];
  const costs: { latest: number; us: number; commands: number; threads: number }[] = [];
  for (const [server, count] of [
    [few, 10],
    [many, MANY],
  ] as const) {
    const { url } = server;
    const store = new CheckpointStore(rig.manager({ url }), KEEP_ALL);
    await inBatches(count, (n) => store.save(`t${n}`, { n }));
    const owner = startOwner({ url, threads: Array.from({ length: 100 }, (_, n) => `owned-${n}`), leaseMs: 1_000 });
    await until(() => told(owner, 'owns').length === 100, { what: 'the owned threads', timeoutMs: 20_000 });
    await owner.kill9();
    await until(async () => (await store.interrupted()).length === 100, { what: 'all to be interrupted', timeoutMs: 15_000 });
    const latest = await leastOf(8, () => costOf(server, () => inBatches(500, () => store.latest('t5'))).then(({ us }) => us));
    const us = await leastOf(8, () => costOf(server, () => store.interrupted()).then((cost) => cost.us));
    const { commands } = await costOf(server, () => store.interrupted());
    let threads = 0;
    for await (const _ of store.threads()) threads++;
    costs.push({ latest, us, commands, threads });
  }
  const [small, large] = costs as [(typeof costs)[0], (typeof costs)[0]];
  expect([small.threads, large.threads]).toEqual([110, MANY + 100]);
  expect(large.latest / small.latest).toBeLessThanOrEqual(1.2);
  // The same commands, of which each costs a logarithm at most.
  expect(large.commands).toBe(small.commands);
  expect(large.us / small.us).toBeLessThanOrEqual(1.5);
});
