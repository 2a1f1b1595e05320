/** What the consumer groups of one durable topic cost the server, as it counts itself (`INFO commandstats`). */
import { MessageBus, RedisConnectionManager } from 'redis-backplane';
import { expect, it } from 'vitest';
import { RedisServer } from './support/redis-server.ts';
import { stretched } from './support/starvation.ts';
import { until } from './support/until.ts';

interface Work {
  calls: number;
  usec: number;
}

/** What was done for scripts and within them. */
async function workOf(server: RedisServer): Promise<Map<string, Work>> {
  const text = String(await server.cli('INFO', 'commandstats'));
  const rows = text.matchAll(/^cmdstat_(\S+?):calls=(\d+),usec=(\d+)/gm);
  return new Map([...rows].map(([, name = '', calls, usec]) => [name, { calls: Number(calls), usec: Number(usec) }]));
}

const callsOf = (work: Map<string, Work>, name: string): number => work.get(name)?.calls ?? 0;

/** Runs `count` groups of one topic, and counts what the server does while each has looked by itself `rounds` times. */
async function idleOf(server: RedisServer, count: number, rounds: number): Promise<{ work: Map<string, Work>; looks: number }> {
  const manager = new RedisConnectionManager({ url: server.url, namespace: `n${count}` });
  const bus = new MessageBus(manager);
  let got = 0;
  // Each looks three times within its lease, which a machine that is busy with something else must not take from it.
  const claimAfterMs = stretched(1_500);
  const join = (n: number) => bus.subscribe('t', () => void got++, { group: `g${n}`, claimAfterMs });
  for (let n = 0; n < count; n += 50) await Promise.all(Array.from({ length: Math.min(50, count - n) }, (_, at) => join(n + at)));
  await bus.publish('t', 1, { durable: true });
  await until(() => got === count, { timeoutMs: 60_000, what: 'every group to have the message' });
  const tended = (): number => Number(/^redis_operation_duration_ms_count\{operation="bus\.tend"\} (\d+)/m.exec(manager.prometheus())?.[1]);
  // What was due with the message is over.
  const settled = tended() + count * 2;
  await until(() => tended() >= settled, { timeoutMs: 60_000, what: 'every group to have looked' });
  await server.cli('CONFIG', 'RESETSTAT');
  const from = tended();
  await until(() => tended() >= from + count * rounds, { timeoutMs: 120_000, what: 'the groups to have looked by themselves' });
  const work = await workOf(server);
  const looks = tended() - from;
  await bus.close();
  await manager.disconnect();
  return { work, looks };
}

it('keeps groups of one topic that have nothing to do from costing more, each, the more there are', async () => {
  await using server = await RedisServer.start();
  const few = await idleOf(server, 20, 3);
  const many = await idleOf(server, 400, 3);
  // Commands and not their time, which is that of everything else on the machine too: none of them does more where there are more groups.
  const each = ({ work, looks }: typeof few) => [...work.values()].reduce((sum, { calls }) => sum + calls, 0) / looks;
  const shown = JSON.stringify({
    few: each(few),
    many: each(many),
    work: [...many.work].map(([name, { calls, usec }]) => [name, calls, usec]),
  });
  expect(each(many), shown).toBeLessThan(each(few) * 1.5);
  // The one that does: nobody looks at all groups while there is nothing to read.
  expect(callsOf(many.work, 'xinfo|groups'), shown).toBe(0);
  // A look is one script that renews and one that reads.
  expect(callsOf(many.work, 'evalsha'), shown).toBeLessThan(many.looks * 2.5);
}, 200_000);

it('counts what groups have not read by one look at all of them, once a second, however many are behind', async () => {
  await using server = await RedisServer.start();
  const manager = new RedisConnectionManager({ url: server.url, namespace: 'app' });
  const bus = new MessageBus(manager);
  const [groups, messages] = [100, 5];
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  for (let n = 0; n < groups; n++) await bus.subscribe('t', () => held, { group: `g${n}`, claimAfterMs: 600 });
  for (let n = 0; n < messages; n++) await bus.publish('t', n, { durable: true });
  const lags = () => Object.values(manager.metrics().redis_bus_lag.t ?? {});
  await until(() => lags().length === groups && lags().every((lag) => lag === messages), { timeoutMs: 30_000, what: 'the lag to be told' });
  await server.cli('CONFIG', 'RESETSTAT');
  const begin = performance.now();
  await until(() => performance.now() - begin > 3_000, { what: 'some looks' });
  const work = await workOf(server);
  const seconds = (performance.now() - begin) / 1_000;
  const shown = JSON.stringify([...work].map(([name, { calls, usec }]) => [name, calls, usec]));
  expect(callsOf(work, 'evalsha'), shown).toBeGreaterThan(groups * 3);
  expect(callsOf(work, 'xinfo|groups'), shown).toBeLessThanOrEqual(seconds + 1);
  release();
  await bus.close();
  await manager.disconnect();
}, 120_000);
