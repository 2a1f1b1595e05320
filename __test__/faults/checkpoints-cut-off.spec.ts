/** Who takes threads over after it was cut off itself, or on a server that has heard of no owner yet: nobody, for one lease. */
import { CheckpointStore, type RedisError, type CheckpointStore as Store } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { startOwner, startResumer, told } from '../support/checkpoint-processes.ts';
import { taken } from '../support/checkpoints.ts';
import { useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const CONFIG = { commandTimeoutMs: 500, reconnect: { minDelayMs: 5, maxDelayMs: 50 } };
const LEASE_MS = 2_000;
/** A resumer looks this often; what a busy machine adds to any time. */
const [SWEEP_MS, SLACK_MS] = [2_100, 2_000];
/** How much earlier than promised something may seem to happen, by the clocks of two processes. */
const EARLY_MS = 20;

/** When a store took a thread over first. */
function watch(store: Store): { at: number | undefined; close(): Promise<void> } {
  const resumer = store.resume(async (run) => {
    seen.at ??= performance.now();
    await run.finish();
  });
  // While it is cut off there is nothing to take.
  resumer.on('error', () => {});
  const seen = { at: undefined as number | undefined, close: () => resumer.close() };
  return seen;
}

async function passed(ms: number, what: string): Promise<void> {
  const begun = performance.now();
  await until(() => performance.now() - begun > ms, { what, timeoutMs: ms + 5_000 });
}

describe('a process that was cut off for longer than a lease', () => {
  it('takes nothing over for a lease, then everything', { timeout: 60_000 }, async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const store = new CheckpointStore(rig.manager({ url: proxy.url, ...CONFIG }));
    const seen = watch(store);
    const owner = startOwner({ url: server.url, threads: ['t'], leaseMs: LEASE_MS });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    const other = new CheckpointStore(rig.manager({ url: server.url }));
    proxy.set({ up: { blackHole: true }, down: { blackHole: true } });
    const cut = performance.now();
    await owner.kill9();
    await until(async () => performance.now() - cut > 1.5 * LEASE_MS && (await other.interrupted()).length === 1, {
      what: 'the end of the lease',
      timeoutMs: 15_000,
    });
    proxy.heal();
    const healed = performance.now();
    expect(await until(() => store.interrupted(), { what: 'the server to answer', timeoutMs: 15_000 })).toEqual([]);
    await until(() => seen.at, { what: 'the thread to be taken', timeoutMs: 30_000 });
    expect((seen.at as number) - healed).toBeGreaterThan(LEASE_MS - EARLY_MS);
    expect((seen.at as number) - healed).toBeLessThan(stretched(LEASE_MS + SWEEP_MS + SLACK_MS));
    await seen.close();
  });

  it('because it stood still itself takes nothing from an owner that it cannot have heard of', { timeout: 60_000 }, async () => {
    const { url } = await rig.server();
    const sleeper = startResumer({ url });
    await sleeper.line<{ up: true }>((line) => 'up' in line);
    const owner = startOwner({ url, threads: ['t'], leaseMs: LEASE_MS });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    const store = new CheckpointStore(rig.manager({ url }));
    await sleeper.freeze();
    const frozen = performance.now();
    await owner.kill9();
    await until(async () => performance.now() - frozen > 1.5 * LEASE_MS && (await store.interrupted()).length === 1, {
      what: 'the end of the lease',
      timeoutMs: 15_000,
    });
    const thawed = performance.now();
    sleeper.thaw();
    await until(() => told(sleeper, 'finished').length === 1, { what: 'the thread to be taken', timeoutMs: 30_000 });
    // It wakes from a sleep of up to a sweep.
    expect(performance.now() - thawed).toBeGreaterThan(LEASE_MS - EARLY_MS);
    await sleeper.kill9();
  });
});

describe('a server that restarted', () => {
  it('gives nobody the thread of an owner of which it has not heard for a lease', { timeout: 60_000 }, async () => {
    const server = await rig.server({ durable: true });
    const owner = startOwner({ url: server.url, threads: ['t'], leaseMs: LEASE_MS });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    await owner.kill9();
    await server.kill9();
    await passed(1.5 * LEASE_MS, 'the lease to end while the server is away');
    const begun = performance.now();
    await server.restart();
    // It has never been cut off from anything.
    const store = new CheckpointStore(rig.manager({ url: server.url, ...CONFIG }));
    expect(await store.interrupted()).toEqual([]);
    expect(await store.acquire('t')).toBeNull();
    const seen = watch(store);
    await until(() => seen.at, { what: 'the thread to be taken', timeoutMs: 30_000 });
    expect((seen.at as number) - begun).toBeGreaterThan(LEASE_MS - EARLY_MS);
    await seen.close();
  });

  it('before a lease was over: its owner keeps the thread, and nobody else gets it', { timeout: 60_000 }, async () => {
    const server = await rig.server({ durable: true });
    const leaseMs = 6_000;
    const owner = new CheckpointStore(rig.manager({ url: server.url, ...CONFIG }));
    const seen = watch(new CheckpointStore(rig.manager({ url: server.url, ...CONFIG })));
    const run = await taken(owner.acquire<{ n: number }>('t', { leaseMs }));
    await run.save({ n: 0 });
    for (let n = 1; n <= 2; n++) {
      await server.kill9();
      await passed(leaseMs / 4, 'some of the lease while the server is away');
      await server.restart();
      await run.save({ n });
    }
    await passed(leaseMs, 'a lease');
    expect([run.signal.aborted, seen.at]).toEqual([false, undefined]);
    await run.save({ n: 3 });
    await run.finish();
    await seen.close();
  });

  it('as the replica that takes over gives nobody the thread of an owner that is alive', { timeout: 60_000 }, async () => {
    const [master, replica] = [await rig.server(), await rig.server()];
    await replica.replicaOf(master);
    const target = { host: master.host, port: master.port };
    await using proxy = await TcpProxy.start(target);
    const url = proxy.url;
    const leaseMs = 6_000;
    const managers = [rig.manager({ url, ...CONFIG }), rig.manager({ url, ...CONFIG })] as const;
    const [owner, other] = managers.map((manager) => new CheckpointStore(manager)) as [Store, Store];
    const run = await taken(owner.acquire<{ n: number }>('t', { leaseMs }));
    await run.save({ n: 0 });
    const seen = watch(other);
    await until(async () => (await replica.keys()).length >= (await master.keys()).length, { what: 'the replica to know' });
    await proxy.refuse();
    proxy.reset();
    await master.kill9();
    await replica.cli('REPLICAOF', 'NO', 'ONE');
    target.port = replica.port;
    await passed(leaseMs / 4, 'some of the lease');
    await proxy.accept();
    await run.save({ n: 1 });
    await passed(leaseMs, 'a lease');
    expect([run.signal.aborted, seen.at]).toEqual([false, undefined]);
    await run.save({ n: 2 });
    await run.finish();
    await seen.close();
    await Promise.all(managers.map((manager) => manager.disconnect()));
  });
});

describe('a resumer', () => {
  it('finds its own threads behind any number that it does not want', { timeout: 60_000 }, async () => {
    const { url } = await rig.server();
    const other = startOwner({ url, threads: Array.from({ length: 300 }, (_, n) => `a:${n}`), leaseMs: 300 });
    await until(() => told(other, 'owns').length === 300, { what: 'all to be owned', timeoutMs: 15_000 });
    await other.kill9();
    const store = new CheckpointStore(rig.manager({ url }));
    await until(async () => (await store.interrupted()).length === 300, { what: 'all to be interrupted' });
    const owner = startOwner({ url, threads: ['b:1'], leaseMs: 300 });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    await owner.kill9();
    const heir = startResumer({ url, match: 'b:*' });
    await until(() => told(heir, 'finished').length === 1, { what: 'its thread', timeoutMs: 15_000 });
    expect(told(heir, 'resumed')).toMatchObject([{ resumed: 'b:1' }]);
    expect(await store.interrupted()).toHaveLength(300);
    expect(await store.interrupted({ limit: 100 })).toHaveLength(100);
    await heir.kill9();
  });

  it('hears of crashes also where the server was away when it began', { timeout: 60_000 }, async () => {
    const server = await rig.server();
    await server.kill9();
    const { url } = server;
    const seen = watch(new CheckpointStore(rig.manager({ url, ...CONFIG, connectRetries: 1_000_000 })));
    await passed(1_500, 'its first attempts to fail');
    await server.restart();
    const owner = startOwner({ url, threads: ['t'], leaseMs: 600_000, worker: 'w' });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    const observer = startOwner({ url, threads: ['other'], leaseMs: 600_000, worker: 'observer' });
    await observer.line<{ owns: string }>((line) => 'owns' in line);
    await passed(SWEEP_MS, 'a sweep');
    await owner.kill9();
    await until(() => seen.at, { what: 'the thread to be taken', timeoutMs: 30_000 });
    await observer.kill9();
    await seen.close();
  });

  it('says why the threads of a crashed worker could not be interrupted', { timeout: 60_000 }, async () => {
    const server = await rig.server();
    const { url } = server;
    const owner = startOwner({ url, threads: ['t'], leaseMs: 600_000, worker: 'w' });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    const observer = startOwner({ url, threads: [], leaseMs: 600_000, worker: 'observer' });
    const store = new CheckpointStore(rig.manager({ url, ...CONFIG }));
    const errors: RedisError[] = [];
    const resumer = store.resume(() => {});
    resumer.on('error', (error) => errors.push(error as RedisError));
    const key = (await server.keys()).map((found) => found.key).find((name) => name.endsWith(':workers')) as string;
    await server.cli('DEL', key);
    await server.cli('SET', key, 'not a list of workers');
    await passed(500, 'the subscription');
    await owner.kill9();
    await until(() => errors.length > 0, { what: 'the failure to be told', timeoutMs: 15_000 });
    expect(errors[0]?.message).toContain('WRONGTYPE');
    await resumer.close();
    await observer.kill9();
  });
});
