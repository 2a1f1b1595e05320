/** A fleet whose owners are killed and stopped while five processes take over. */
import { type Checkpoint, CheckpointStore } from 'redis-backplane';
import { expect, test } from 'vitest';
import { startOwner, startResumer, told } from '../support/checkpoint-processes.ts';
import { historyOf } from '../support/checkpoints.ts';
import type { Child } from '../support/process.ts';
import { useRig } from '../support/rig.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const LEASE_MS = 2_000;

interface Owner {
  thread: string;
  child: Child;
  fence: number;
}

test('five processes take over from 20 owners that are killed and 5 that are stopped: each thread once, and none of the stopped changes anything', {
  timeout: 180_000,
}, async () => {
  const { url } = await rig.server();
  const store = new CheckpointStore(rig.manager({ url }));
  const heirs = Array.from({ length: 5 }, () => startResumer({ url, concurrency: 4 }, 180_000));
  await Promise.all(heirs.map((heir) => heir.line<{ up: true }>((line) => 'up' in line, 30_000)));
  const start = async (thread: string): Promise<Owner> => {
    const child = startOwner({ url, threads: [thread], leaseMs: LEASE_MS }, 180_000);
    const { fence } = await child.line<{ owns: string; fence: number }>((line) => 'owns' in line, 60_000);
    return { thread, child, fence };
  };
  // A few at a time: starting a process takes a processor for longer than anything else here.
  const owners: Owner[] = [];
  for (let at = 0; at < 26; at += 4) {
    const names = Array.from({ length: Math.min(4, 26 - at) }, (_, n) => `t${at + n}`);
    owners.push(...(await Promise.all(names.map(start))));
  }
  const [killed, stopped, [unharmed]] = [owners.slice(0, 20), owners.slice(20, 25), owners.slice(25)];

  await Promise.all(stopped.map(({ child }) => child.freeze()));
  await Promise.all(killed.map(({ child }) => child.kill9()));
  const gone = [...killed, ...stopped];
  const last = new Map<string, Checkpoint<{ by: number; n: number }> | null>();
  const resumed = () => heirs.flatMap((heir) => told(heir, 'resumed').map((line) => ({ ...line, heir: heir.pid })));
  const finished = () => heirs.flatMap((heir) => told(heir, 'finished'));
  await until(() => finished().length >= gone.length, {
    timeoutMs: LEASE_MS + 60_000,
    what: () => `all to be done elsewhere; done: ${finished().length}`,
  });
  for (const { thread } of gone) last.set(thread, await store.latest(thread));

  for (const { child } of stopped) child.thaw();
  await until(() => stopped.every(({ child }) => told(child, 'aborted').length === 1 && told(child, 'refused').length === 1), {
    timeoutMs: 30_000,
    what: 'the stopped ones to learn of it',
  });
  for (const { child } of stopped) {
    expect([told(child, 'aborted')[0]?.kind, told(child, 'refused')[0]?.kind]).toEqual(['lease-lost', 'lease-lost']);
  }

  expect(
    resumed()
      .map((line) => line.resumed)
      .sort(),
  ).toEqual(gone.map(({ thread }) => thread).sort());
  for (const { thread, child, fence } of gone) {
    const line = resumed().find((one) => one.resumed === thread);
    expect(line).toMatchObject({ attempt: 1, from: { by: child.pid } });
    expect(line?.fence).toBeGreaterThan(fence);
    // The latest is the one state that was saved behind what the dead or stopped one saved last.
    expect(await store.latest(thread)).toEqual(last.get(thread));
    expect(last.get(thread)?.state).toEqual({ by: line?.heir, n: (line?.from?.n ?? 0) + 1 });
    const chain = await historyOf(store, thread);
    expect(chain.map(({ parent }) => parent)).toEqual([...chain.slice(1).map(({ id }) => id), null]);
  }
  expect(await store.interrupted()).toEqual([]);
  expect([told((unharmed as Owner).child, 'aborted'), told((unharmed as Owner).child, 'refused')]).toEqual([[], []]);
  expect(heirs.flatMap((heir) => [...told(heir, 'error'), ...told(heir, 'failed')])).toEqual([]);
  await Promise.all([...heirs, ...stopped.map(({ child }) => child), (unharmed as Owner).child].map((child) => child.kill9()));
});
