/** A connection attempt that began before a failover and ends after it. */
import { expect, it } from 'vitest';
import { useRig } from './support/rig.ts';
import { isMaster, replicated, Sentinels } from './support/topology.ts';
import { until, within } from './support/until.ts';

const rig = useRig();

it('an attempt to reach the old master, ended late, does not take the manager back to it', { timeout: 120_000 }, async () => {
  await using topology = await Sentinels.start(1);
  const old = await topology.named();
  const next = topology.servers.find((server) => server !== old);
  if (next === undefined) throw new Error('there is no replica');
  const manager = rig.manager({ url: topology.url, connectTimeoutMs: 60_000, commandTimeoutMs: 60_000, keepAliveMs: 300 });
  await manager.connect();
  await replicated(old, next);

  await old.freeze();
  // Its connection is opened to the master that the sentinels still name, and gets no further.
  const popped = manager.command('BLPOP', 'list', 0);
  popped.catch(() => {});
  await topology.promoted(old);
  const port = async () => Number(/^tcp_port:(\d+)/m.exec(await manager.command<string>('INFO', 'server'))?.[1]);
  expect(await within(20_000, port(), 'the manager to find the new master')).toBe(next.port);
  old.thaw();
  const seen = new Set<number>();
  await until(
    async () => {
      seen.add(await port());
      return !(await isMaster(old));
    },
    { timeoutMs: 60_000, what: 'the old master to be told' },
  );
  expect([...seen]).toEqual([next.port]);
  await manager.command('RPUSH', 'list', 'v');
  expect(await within(20_000, popped, 'the blocked caller')).toEqual(['list', 'v']);
});
