/** Checkpoints when something breaks: answers that are lost, owners that die, stand still or are blocked. */
import { type CheckpointInfo, CheckpointStore, type CheckpointStoreOptions, WorkerRegistry } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { startOwner, startResumer, told } from '../support/checkpoint-processes.ts';
import { allOf, historyOf, taken } from '../support/checkpoints.ts';
import { failureOf, refusalOf } from '../support/failure.ts';
import { type Child, startProcess } from '../support/process.ts';
import { useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until } from '../support/until.ts';

const rig = useRig();
const RECONNECT = { minDelayMs: 1, maxDelayMs: 50 };
const LEASE_MS = 1_000;
/** A resumer looks this often; what a busy machine adds to any time. */
const [SWEEP_MS, SLACK_MS] = [2_100, 1_500];
/** How long the event loop is blocked. `CHECKPOINTS_BLOCKED_MS=60000` is what is promised; by default the time is scaled down. */
const BLOCKED_MS = Number(process.env.CHECKPOINTS_BLOCKED_MS ?? 5_000);

function storeOf(url: string, options?: CheckpointStoreOptions): CheckpointStore {
  return new CheckpointStore(rig.manager({ url, reconnect: RECONNECT }), options);
}

describe('an answer that is lost', () => {
  it('of a save leaves it open whether it was made; made again under its id there is one', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const store = storeOf(proxy.url);
    await store.save('t', { n: 0 }, { id: 'a' });
    proxy.set({ down: { dropAfterBytes: 0 } });
    expect(await failureOf(store.save('t', { n: 1 }, { id: 'b', parent: 'a' }))).toMatchObject({ delivery: 'maybe-executed' });
    proxy.heal();
    expect(await store.save('t', { n: 1 }, { id: 'b', parent: 'a' })).toMatchObject({ id: 'b', parent: 'a' });
    expect((await historyOf(store, 't')).map(({ id }) => id)).toEqual(['b', 'a']);
    expect(await store.latest('t')).toMatchObject({ id: 'b', state: { n: 1 } });
    await refusalOf(store.save('t', { n: 2 }, { id: 'b' }), 'conflict');
  });

  it('of a save by its owner is asked for again: never two', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const store = storeOf(proxy.url);
    const run = await taken(store.acquire<{ n: number }>('t', { leaseMs: 30_000 }));
    const infos: CheckpointInfo[] = [];
    for (let n = 0; n < 10; n++) {
      const { dropped } = proxy.counters;
      proxy.set({ down: { dropAfterBytes: 0 } });
      const saving = run.save({ n });
      await until(() => proxy.counters.dropped > dropped, { what: 'the answer to be lost' });
      proxy.heal();
      infos.push(await saving);
    }
    const history = await historyOf(store, 't');
    expect(history.map(({ id }) => id)).toEqual(infos.map(({ id }) => id).reverse());
    expect(history.map(({ parent }) => parent)).toEqual([...history.slice(1).map(({ id }) => id), null]);
    expect((await store.latest('t'))?.state).toEqual({ n: 9 });
    await run.finish();
  });

  it('of an acquisition is asked for again, and its lease begins with the answer that came', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const [store, other] = [storeOf(proxy.url), storeOf(server.url)];
    await store.save('t', { text: 'x'.repeat(300_000) });
    // Only the answer that gives the checkpoint is so long.
    proxy.set({ down: { dropAfterBytes: 100_000 } });
    const acquiring = taken(store.acquire('t', { leaseMs: 500, waitMs: 15_000 }));
    await until(() => proxy.counters.dropped > 0, { what: 'the answer to be lost' });
    // Until more than the first lease is over no answer comes.
    const lost = performance.now();
    await until(() => performance.now() - lost > 800, { what: 'a lease to pass' });
    proxy.heal();
    const run = await acquiring;
    expect(run.interrupted).toBeNull();
    expect(await other.acquire('t')).toBeNull();
    await run.save({ text: 'y' });
    expect(run.signal.aborted).toBe(false);
    await run.finish();
  });

  it('of taking an interrupted thread over leaves it interrupted, once', async () => {
    const server = await rig.server();
    const { url } = server;
    const store = storeOf(url);
    const owner = startOwner({ url, threads: ['t'], leaseMs: 200 });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    await owner.kill9();
    const { id } = await store.save('other', {});
    await until(async () => (await store.interrupted()).length === 1, { what: 'the thread to be interrupted' });
    // What it goes on from is long, so that only the answer that gives it is lost.
    await store.save('t', { text: 'x'.repeat(300_000) });
    const proxy = await rig.proxy(server, { down: { dropAfterBytes: 100_000 } });
    const seen: number[] = [];
    const resumer = storeOf(proxy.url).resume(async (run, { attempt }) => {
      seen.push(attempt);
      await run.finish();
    });
    await until(() => proxy.counters.dropped > 0, { what: 'the answer to be lost', timeoutMs: 15_000 });
    proxy.heal();
    await until(() => seen.length > 0, { what: 'the thread to be taken', timeoutMs: 15_000 });
    await resumer.close();
    expect(seen).toEqual([1]);
    expect(await store.interrupted()).toEqual([]);
    expect((await store.latest('other'))?.id).toBe(id);
  });

  it('of an acquisition that is cancelled gives nothing away: an interrupted thread stays interrupted', async () => {
    const server = await rig.server();
    const store = storeOf(server.url);
    const owner = startOwner({ url: server.url, threads: ['t'], leaseMs: 200 });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    await owner.kill9();
    await until(async () => (await store.interrupted()).length === 1, { what: 'the thread to be interrupted' });
    const proxy = await rig.proxy(server);
    const far = storeOf(proxy.url);
    await far.latest('t');
    proxy.set({ down: { blackHole: true } });
    const { up } = proxy.counters;
    const controller = new AbortController();
    const acquiring = failureOf(far.acquire('t', { signal: controller.signal, waitMs: 10_000, leaseMs: 60_000 }));
    await until(() => proxy.counters.up > up && server.cli('EXISTS', 'any').then(() => true), { what: 'the attempt to be sent' });
    controller.abort();
    expect((await acquiring).redisErrorKind).toBe('cancelled');
    proxy.heal();
    await until(async () => (await store.interrupted()).length === 1, { what: 'the thread to be as it was', timeoutMs: 15_000 });
    expect((await store.interrupted())[0]).toMatchObject({ thread: 't', times: 1 });
  });
});

describe('an owner that stands still for longer than its lease', () => {
  it('has lost its thread: another one goes on from the last saved state, and the first changes nothing', async () => {
    const { url } = await rig.server();
    const store = storeOf(url);
    const sleeper = startOwner({ url, threads: ['t'], leaseMs: LEASE_MS });
    const { fence } = await sleeper.line<{ owns: string; fence: number }>((line) => 'owns' in line);
    await until(async () => (await historyOf(store, 't')).length > 5, { what: 'some states' });
    await sleeper.freeze();
    const last = await store.latest<{ by: number; n: number }>('t');
    const heir = startResumer({ url });
    await until(() => told(heir, 'finished').length === 1, { timeoutMs: LEASE_MS + 20_000, what: 'the other one to have done it' });
    expect(told(heir, 'resumed')).toMatchObject([{ resumed: 't', attempt: 1, from: last?.state }]);
    expect(told(heir, 'resumed')[0]?.fence).toBeGreaterThan(fence);
    const after = await historyOf(store, 't');
    sleeper.thaw();
    await until(() => told(sleeper, 'aborted').length === 1 && told(sleeper, 'refused').length === 1, {
      timeoutMs: 15_000,
      what: 'the first to learn of it',
    });
    expect([told(sleeper, 'aborted')[0]?.kind, told(sleeper, 'refused')[0]?.kind]).toEqual(['lease-lost', 'lease-lost']);
    expect(await historyOf(store, 't')).toEqual(after);
    expect(await store.latest('t')).toMatchObject({ state: { by: heir.pid, n: (last?.state.n ?? 0) + 1 } });
    await Promise.all([sleeper.kill9(), heir.kill9()]);
  });

  it('changes nothing either where the other one left nothing behind', async () => {
    const { url } = await rig.server();
    const store = storeOf(url);
    const sleeper = startOwner({ url, threads: ['t'], leaseMs: 300 });
    await sleeper.line<{ owns: string }>((line) => 'owns' in line);
    await sleeper.freeze();
    await until(async () => (await store.interrupted()).length === 1, { what: 'the thread to be interrupted' });
    const run = await taken(store.acquire('t'));
    expect(run.interrupted?.times).toBe(1);
    await run.finish();
    expect(await store.remove('t')).toBe(true);
    sleeper.thaw();
    await until(() => told(sleeper, 'aborted').length === 1 && told(sleeper, 'refused').length === 1, {
      timeoutMs: 15_000,
      what: 'the first to learn of it',
    });
    expect(await store.latest('t')).toBeNull();
    expect(await allOf(store.threads())).toEqual([]);
    await sleeper.kill9();
  });
});

describe('an owner that stands still while its event loop is blocked', () => {
  it('saves nothing, also before JavaScript can know of the loss, and where nothing on the server tells of it', async () => {
    const { url } = await rig.server();
    const store = storeOf(url);
    const blockMs = 1_500;
    const owner = startOwner({ url, threads: ['t'], leaseMs: 300, blockMs });
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    process.kill(owner.pid, 'SIGUSR2');
    await owner.line<{ blocked: true }>((line) => 'blocked' in line);
    const begun = performance.now();
    await owner.freeze();
    await until(async () => (await store.interrupted()).length === 1, { what: 'the thread to be interrupted' });
    await taken(store.acquire('t')).then((run) => run.finish());
    expect(await store.remove('t')).toBe(true);
    await until(() => performance.now() - begun > blockMs, { what: 'the end of the block to pass' });
    owner.thaw();
    await owner.line<{ unblocked: number }>((line) => 'unblocked' in line);
    const { kind } = await owner.line<{ notSaved: string; kind: string }>((line) => 'notSaved' in line || 'saved' in line);
    expect(kind).toBe('lease-lost');
    expect(await store.latest('t')).toBeNull();
    await owner.kill9();
  });
});

describe('an owner that is killed', () => {
  it('has its threads resumed, each once, within a lease and a sweep', async () => {
    const { url } = await rig.server();
    const threads = ['a', 'b', 'c', 'd', 'e'];
    const victim = startOwner({ url, threads, leaseMs: LEASE_MS });
    await until(() => told(victim, 'owns').length === threads.length, { what: 'all to be owned' });
    const heirs = [startResumer({ url, concurrency: 2 }), startResumer({ url, concurrency: 2 })];
    await Promise.all(heirs.map((heir) => heir.line<{ up: true }>((line) => 'up' in line)));
    await victim.kill9();
    const killed = Date.now();
    const resumed = () => heirs.flatMap((heir) => told(heir, 'resumed'));
    const finished = () => heirs.flatMap((heir) => told(heir, 'finished'));
    await until(() => finished().length === threads.length, { timeoutMs: LEASE_MS + 20_000, what: 'all to be done elsewhere' });
    expect(
      resumed()
        .map((line) => line.resumed)
        .sort(),
    ).toEqual(threads);
    for (const { attempt, from } of resumed()) expect([attempt, from?.by]).toEqual([1, victim.pid]);
    const slowest = Math.max(...resumed().map(({ at }) => at)) - killed;
    expect(slowest).toBeLessThan(stretched(LEASE_MS + SWEEP_MS + SLACK_MS));
    expect(await storeOf(url).interrupted()).toEqual([]);
    await Promise.all(heirs.map((heir) => heir.kill9()));
  });

  it('while nobody else is there leaves its thread to the next who comes', async () => {
    const { url } = await rig.server();
    const victim = startOwner({ url, threads: ['t'], leaseMs: 300 });
    await victim.line<{ owns: string }>((line) => 'owns' in line);
    await victim.kill9();
    const store = storeOf(url);
    await until(async () => (await store.interrupted()).length === 1, { what: 'the end of its lease' });
    const heir = startResumer({ url });
    await until(() => told(heir, 'finished').length === 1, { timeoutMs: 15_000, what: 'the thread in the other hand' });
    await heir.kill9();
  });

  it('more often than maxResumes allows has its thread fail, which is told once', async () => {
    const { url } = await rig.server();
    const first = startOwner({ url, threads: ['t'], leaseMs: 300 });
    await first.line<{ owns: string }>((line) => 'owns' in line);
    await first.kill9();
    for (let n = 1; n <= 2; n++) {
      const victim = startResumer({ url, leaseMs: 300, maxResumes: 2, hang: true });
      const { attempt } = await victim.line<{ attempt: number }>((line) => 'resumed' in line, 15_000);
      expect(attempt).toBe(n);
      await victim.kill9();
    }
    const last = startResumer({ url, leaseMs: 300, maxResumes: 2 });
    expect(await last.line<{ failed: string }>((line) => 'failed' in line, 15_000)).toEqual({ failed: 't', times: 3 });
    expect(told(last, 'resumed')).toEqual([]);
    const store = storeOf(url);
    expect(await store.interrupted()).toEqual([]);
    // Whoever asks for the thread by name gets it.
    const run = await taken(store.acquire<{ n: number }>('t'));
    expect(run.checkpoint?.state.n).toBeGreaterThan(0);
    await run.finish();
    await last.kill9();
  });

  it('and that a registry declares crashed has its threads resumed at once, whatever is left of its lease', async () => {
    const { url } = await rig.server();
    const leaseMs = 600_000;
    const threads = Array.from({ length: 150 }, (_, n) => `t${n}`);
    const victim = startOwner({ url, threads, leaseMs, worker: 'victim' });
    await until(() => told(victim, 'owns').length === threads.length, { timeoutMs: 15_000, what: 'all to be owned' });
    const heir = startResumer({ url, concurrency: 50, leaseMs });
    await heir.line<{ up: true }>((line) => 'up' in line);
    const registry = new WorkerRegistry(rig.manager({ url }), { heartbeatIntervalMs: 100 });
    let crashedAt = 0;
    registry.on('crashed', () => {
      crashedAt = Date.now();
    });
    await registry.ready();
    await victim.kill9();
    await until(() => told(heir, 'finished').length === threads.length, { timeoutMs: 20_000, what: 'all to be done elsewhere' });
    const resumed = told(heir, 'resumed');
    expect(new Set(resumed.map((line) => line.resumed)).size).toBe(threads.length);
    expect(resumed).toHaveLength(threads.length);
    for (const { worker, attempt } of resumed) expect([worker, attempt]).toEqual(['victim', 1]);
    expect(Math.min(...resumed.map(({ at }) => at)) - crashedAt).toBeLessThan(stretched(SLACK_MS));
    await heir.kill9();
    await registry.cleanup();
  });
});

describe('a worker that crashes', () => {
  it('has all its threads of one share interrupted, however many they are', async () => {
    const server = await rig.server();
    const { url } = server;
    const store = storeOf(url);
    // Which names are in one share is seen in the keys: a share has a hash tag.
    await Promise.all(Array.from({ length: 5_000 }, (_, n) => store.save(`t${n}`, {})));
    const shares = new Map<string, string[]>();
    for (const { key } of await server.keys()) {
      const [, tag, thread] = /(\{\d+\}):state:(.*)$/.exec(key) ?? [];
      if (tag !== undefined && thread !== undefined) shares.set(tag, [...(shares.get(tag) ?? []), thread]);
    }
    const threads = [...shares.values()].find((names) => names.length > 100)?.slice(0, 140) ?? [];
    expect(threads.length).toBeGreaterThan(100);
    await server.cli('FLUSHALL');
    const victim = startOwner({ url, threads, leaseMs: 600_000, worker: 'victim' });
    await until(() => told(victim, 'owns').length === threads.length, { timeoutMs: 15_000, what: 'all to be owned' });
    // To hear of crashes it has to have looked.
    expect(await store.interrupted()).toEqual([]);
    const registry = new WorkerRegistry(rig.manager({ url }), { heartbeatIntervalMs: 100 });
    const crashed: string[] = [];
    registry.on('crashed', ({ id }) => crashed.push(id));
    await registry.ready();
    await victim.kill9();
    await until(() => crashed.length === 1, { timeoutMs: 15_000, what: 'the crash to be declared' });
    await until(async () => (await store.interrupted()).length === threads.length, {
      timeoutMs: 15_000,
      what: 'all to be interrupted',
    });
    await registry.cleanup();
  });
});

describe('an owner whose event loop is blocked', () => {
  it('keeps its thread for many leases', { timeout: BLOCKED_MS + 60_000 }, async () => {
    const { url } = await rig.server();
    const owner = startOwner({ url, threads: ['t'], leaseMs: 500, blockMs: BLOCKED_MS }, BLOCKED_MS + 60_000);
    await owner.line<{ owns: string }>((line) => 'owns' in line);
    const vulture = startResumer({ url }, BLOCKED_MS + 60_000);
    await vulture.line<{ up: true }>((line) => 'up' in line);
    const store = storeOf(url);
    process.kill(owner.pid, 'SIGUSR2');
    let looks = 0;
    await until(
      async () => {
        looks++;
        expect(await store.interrupted()).toEqual([]);
        return told(owner, 'unblocked').length === 1;
      },
      { timeoutMs: BLOCKED_MS + 20_000, what: 'the block to end, with the thread owned' },
    );
    expect(looks).toBeGreaterThan(5);
    const before = await store.latest<{ n: number }>('t');
    await until(async () => ((await store.latest<{ n: number }>('t'))?.state.n ?? 0) > (before?.state.n ?? 0), { what: 'it to go on' });
    expect([told(owner, 'aborted'), told(owner, 'refused'), told(vulture, 'resumed')]).toEqual([[], [], []]);
    await Promise.all([owner.kill9(), vulture.kill9()]);
  });
});

describe('a process that only holds a run', () => {
  it('keeps the thread after the store was collected', async () => {
    const { url } = await rig.server();
    const child: Child = startProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        const owned = () => new redis.CheckpointStore(manager).acquire('t', { leaseMs: 30_000 });
        const run = await owned();
        for (let round = 0; round < 10; round++) {
          (globalThis as unknown as { gc(): void }).gc();
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        const { id } = (await run?.save({ n: 1 })) ?? {};
        await run?.finish();
        emit({ id });
        await manager.disconnect();
      },
      { args: { url }, nodeOptions: ['--expose-gc'] },
    );
    const { id } = await child.line<{ id: string }>();
    expect((await storeOf(url).latest('t'))?.id).toBe(id);
    expect((await child.ended).code).toBe(0);
  });
});
