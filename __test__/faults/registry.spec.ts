/** The registry when things break: processes killed, stopped and blocked, servers restarted, frozen and failed over. */
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import { type WorkerClaim, type WorkerEventName, type WorkerInfo, WorkerRegistry } from 'redis-backplane';
import { describe, expect, test, vi } from 'vitest';
import { type Child, type ChildContext, PACKAGE_ROOT, runProcess, startProcess } from '../support/process.ts';
import { useRig } from '../support/rig.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { replicated } from '../support/topology.ts';
import { until } from '../support/until.ts';

const rig = useRig();

/** How long the event loop of one process is blocked; the issue's own figure is 60 000. */
const BLOCKED_MS = Number(process.env.REGISTRY_BLOCKED_MS ?? 4_000);
const FLEET_OPTIONS = {
  heartbeatIntervalMs: 250,
  degradedAfterMs: 1_500,
  crashedAfterMs: 3_500,
  stalledAfterMs: 800,
};
/** A lease is 700 ms. */
const FAST = { heartbeatIntervalMs: 100, degradedAfterMs: 400, crashedAfterMs: 600 };
const EVENTS: readonly WorkerEventName[] = ['joined', 'left', 'status', 'degraded', 'recovered', 'crashed'];

interface FleetArgs {
  url: string;
  id: string;
  options: object;
  blockMs?: number;
}

/** A process with one worker: it says what it learns, and blocks its event loop if it is told to. */
async function fleetMember({ redis, emit, args }: ChildContext<FleetArgs>): Promise<void> {
  const manager = new redis.RedisConnectionManager({ url: args.url, namespace: 'fleet' });
  const registry = new redis.WorkerRegistry(manager, args.options);
  registry.on('fenced', (worker, next) => emit({ fenced: worker.epoch, next: next?.epoch ?? null }));
  const { epoch } = await registry.register({ id: args.id, capabilities: ['work'] });
  process.on('SIGUSR2', () => {
    const ends = performance.now() + (args.blockMs ?? 0);
    while (performance.now() < ends);
    emit('unblocked');
  });
  emit({ epoch });
  setInterval(() => {}, 1_000);
}

/** Every event of the fleet, as `event id`. */
function record(registry: WorkerRegistry): { seen: string[]; workers: [WorkerEventName, WorkerInfo][] } {
  const seen: string[] = [];
  const workers: [WorkerEventName, WorkerInfo][] = [];
  for (const event of EVENTS) {
    registry.on(event, (worker) => {
      seen.push(`${event} ${worker.id}`);
      workers.push([event, worker]);
    });
  }
  return { seen, workers };
}

test(
  'a fleet of 20 processes: each crash is reaped once, a blocked loop is no crash, and who was stopped learns that it is over',
  async () => {
    const server = await rig.server();
    const manager = rig.manager({ url: server.url, namespace: 'fleet' });
    const observer = new WorkerRegistry(manager, FLEET_OPTIONS);
    const { seen, workers } = record(observer);
    await observer.ready();
    const start = (id: string): Child =>
      startProcess(fleetMember, {
        args: { url: server.url, id, options: FLEET_OPTIONS, blockMs: BLOCKED_MS },
        timeoutMs: 60_000 + BLOCKED_MS,
      });
    const fleet = new Map(Array.from({ length: 20 }, (_, n) => [`w${n}`, start(`w${n}`)]));
    const epochs = new Map<string, number>();
    for (const [id, child] of fleet) epochs.set(id, (await child.line<{ epoch: number }>((line) => 'epoch' in line, 30_000)).epoch);
    expect(await observer.count()).toMatchObject({ total: 20, crashed: 0 });
    await until(async () => (await observer.count()).healthy === 20, { timeoutMs: 20_000, what: 'everyone to be healthy' });

    // Five reapers compete until the end, each a registry of a manager of its own.
    const reaped: WorkerInfo[] = [];
    let reaping = true;
    const reapers = Array.from({ length: 5 }, async () => {
      const own = new WorkerRegistry(rig.manager({ url: server.url, namespace: 'fleet' }), FLEET_OPTIONS);
      while (reaping) reaped.push(...(await own.reap()));
    });

    const member = (id: string): Child => fleet.get(id) as Child;
    process.kill(member('w0').pid, 'SIGUSR2');
    await Promise.all(['w1', 'w2', 'w3'].map((id) => member(id).kill9()));
    await Promise.all(['w4', 'w5'].map((id) => member(id).freeze()));
    // Restarted under its id before its time is up: another registration, no crash.
    await member('w6').kill9();
    fleet.set('w6', start('w6'));
    const restarted = await member('w6').line<{ epoch: number }>((line) => 'epoch' in line, 30_000);
    expect(restarted.epoch).toBeGreaterThan(epochs.get('w6') as number);

    await until(async () => (await observer.get('w0'))?.degradedBecause === 'event-loop-stalled', {
      timeoutMs: 15_000,
      what: 'the blocked loop to be noticed',
    });
    const blocked = await observer.get('w0');
    expect(blocked?.lastHeartbeatAt).toBeGreaterThan(blocked?.registeredAt as number);
    await until(() => reaped.length >= 5, { timeoutMs: 30_000, what: () => `five crashes; reaped: ${reaped.map(({ id }) => id)}` });
    await member('w0').line((line) => line === 'unblocked', 20_000 + BLOCKED_MS);
    await until(async () => (await observer.health('w0')) === 'healthy', { timeoutMs: 15_000, what: 'the blocked one to recover' });

    // One that crashed is restarted under its id; its crash stays its own.
    fleet.set('w1', start('w1'));
    await member('w1').line<{ epoch: number }>((line) => 'epoch' in line, 30_000);
    for (const id of ['w4', 'w5']) member(id).thaw();
    for (const id of ['w4', 'w5']) {
      const told = await member(id).line<{ fenced: number; next: number }>((line) => typeof line === 'object' && 'fenced' in line, 20_000);
      expect(told.fenced).toBe(epochs.get(id));
      expect(told.next).toBeGreaterThan(told.fenced);
    }
    await until(async () => (await observer.count()).healthy === 18, { timeoutMs: 20_000, what: 'the fleet to be well' });
    reaping = false;
    await Promise.all(reapers);

    expect(reaped.map(({ id, epoch }) => `${id} ${epoch}`).sort()).toEqual(
      ['w1', 'w2', 'w3', 'w4', 'w5'].map((id) => `${id} ${epochs.get(id)}`).sort(),
    );
    expect(seen.filter((event) => event.startsWith('crashed')).sort()).toEqual(['w1', 'w2', 'w3', 'w4', 'w5'].map((id) => `crashed ${id}`));
    expect(seen.filter((event) => event.endsWith(' w0'))).toEqual(['joined w0', 'degraded w0', 'recovered w0']);
    expect(workers.find(([event, { id }]) => event === 'degraded' && id === 'w0')?.[1].degradedBecause).toBe('event-loop-stalled');
    expect(seen.filter((event) => event.endsWith(' w6') && !/degraded|recovered/.test(event))).toEqual([
      'joined w6',
      'left w6',
      'joined w6',
    ]);
    await observer.cleanup();
    await Promise.all([...fleet.values()].map((child) => child.kill9().catch(() => {})));
  },
  90_000 + BLOCKED_MS,
);

describe('a server', () => {
  test('that restarts without its data: workers register again by themselves, and nobody crashed', async () => {
    const server = await rig.server();
    const registry = new WorkerRegistry(rig.manager({ url: server.url, commandTimeoutMs: 1_000 }), FAST);
    const other = new WorkerRegistry(rig.manager({ url: server.url, commandTimeoutMs: 1_000 }), FAST);
    const { seen } = record(other);
    await other.ready();
    const before = await Promise.all(
      Array.from({ length: 30 }, (_, n) => (n % 2 ? registry : other).register({ id: `w${n}`, capabilities: [`c${n}`], metadata: { n } })),
    );
    const fenced: [string, number | undefined][] = [];
    registry.on('fenced', (worker, next) => fenced.push([worker.id, next?.epoch]));
    await registry.setStatus('w1', 'busy');
    await registry.heartbeat('w1', { load: 0.5, metadata: { changed: true } });
    await server.kill9();
    await server.restart();
    await until(async () => (await registry.count()).healthy === 30, { timeoutMs: 15_000, what: 'everyone to be registered again' });
    expect(await registry.get('w1')).toMatchObject({ status: 'busy', load: 0.5, metadata: { changed: true }, capabilities: ['c1'] });
    for (const { id, epoch } of before) expect((await registry.get(id))?.epoch).toBeGreaterThan(epoch);
    expect(fenced).toHaveLength(15);
    expect(fenced.every(([, epoch]) => typeof epoch === 'number')).toBe(true);
    expect(await registry.reap()).toEqual([]);
    await until(() => seen.filter((event) => event.startsWith('joined')).length === 60, { what: () => `the events: ${seen.length}` });
    expect(seen.filter((event) => event.startsWith('crashed'))).toEqual([]);
    await registry.cleanup();
    await other.cleanup();
  });

  test('that restarts with its data after longer than a lease: everyone has a full lease from then on', async () => {
    const server = await rig.server({ durable: true });
    const config = { url: server.url, commandTimeoutMs: 1_000 };
    const registry = new WorkerRegistry(rig.manager(config), FAST);
    const silent = new WorkerRegistry(rig.manager(config), { ...FAST, autoHeartbeat: false });
    const { seen } = record(registry);
    await registry.ready();
    const { epoch } = await registry.register({ id: 'beats' });
    await silent.register({ id: 'silent' });
    await server.kill9();
    const away = performance.now();
    await until(() => performance.now() - away > 1_500, { what: 'more than two leases to pass' });
    await server.restart();
    const back = performance.now();
    await until(async () => (await registry.health('silent')) === 'crashed', { timeoutMs: 15_000, what: 'the silent one to crash' });
    expect(performance.now() - back).toBeGreaterThan(600);
    expect(await registry.get('beats')).toMatchObject({ health: 'healthy', epoch });
    await until(() => seen.includes('crashed silent'), { what: 'the event' });
    expect(seen.filter((event) => event.startsWith('crashed'))).toEqual(['crashed silent']);
    await registry.cleanup();
  });

  test('that fails over to its replica: nobody crashed, and no epoch is new', async () => {
    const master = await rig.server();
    const replica = await rig.server();
    await replica.replicaOf(master);
    const target = { host: master.host, port: master.port };
    const proxy = await TcpProxy.start(target);
    const config = { url: `redis://${proxy.host}:${proxy.port}`, commandTimeoutMs: 1_000 };
    const managers = [rig.manager(config), rig.manager(config)];
    const [registry, other] = managers.map((manager) => new WorkerRegistry(manager, FAST)) as [WorkerRegistry, WorkerRegistry];
    const { seen } = record(other);
    await other.ready();
    const before = await Promise.all(Array.from({ length: 12 }, (_, n) => (n % 2 ? registry : other).register({ id: `w${n}` })));
    await until(async () => Number(await replica.cli('EXISTS', '~registry:{~}:state')) === 1, { what: 'the replica to know' });
    await until(async () => Number(await replica.cli('HLEN', '~registry:{~}:state')) === 12, { what: 'the replica to know all' });
    await proxy.refuse();
    proxy.reset();
    await master.kill9();
    const away = performance.now();
    await until(() => performance.now() - away > 1_200, { what: 'more than a lease to pass' });
    await replica.cli('REPLICAOF', 'NO', 'ONE');
    target.port = replica.port;
    await proxy.accept();
    await until(async () => (await registry.count()).healthy === 12, { timeoutMs: 15_000, what: 'everyone to be healthy' });
    for (const { id, epoch } of before) expect((await registry.get(id))?.epoch).toBe(epoch);
    expect(await registry.reap()).toEqual([]);
    expect(seen.filter((event) => event.startsWith('crashed'))).toEqual([]);
    await registry.cleanup();
    await other.cleanup();
    await Promise.all(managers.map((manager) => manager.disconnect()));
    await proxy[Symbol.asyncDispose]();
  });

  test('that fails over and back, first too quickly for anyone to be late: nobody crashed on the process that they registered on', async () => {
    // Fewer than make a storm, which would be held back anyway.
    const FEW = 6;
    const first = await rig.server();
    const second = await rig.server();
    await second.replicaOf(first);
    const target = { host: first.host, port: first.port };
    const proxy = await TcpProxy.start(target);
    const config = { url: `redis://${proxy.host}:${proxy.port}`, commandTimeoutMs: 1_000 };
    const [registry, other] = [rig.manager(config), rig.manager(config)].map((manager) => new WorkerRegistry(manager, FAST)) as [
      WorkerRegistry,
      WorkerRegistry,
    ];
    const { seen } = record(other);
    await other.ready();
    await Promise.all(Array.from({ length: FEW }, (_, n) => (n % 2 ? registry : other).register({ id: `w${n}` })));
    await replicated(first, second);

    await second.cli('REPLICAOF', 'NO', 'ONE');
    target.port = second.port;
    proxy.reset();
    await first.replicaOf(second);
    await until(async () => (await registry.count()).healthy === FEW, { what: 'everyone to be healthy on the second server' });
    await replicated(second, first);

    await proxy.refuse();
    proxy.reset();
    await second.kill9();
    const away = performance.now();
    await until(() => performance.now() - away > 1_200, { what: 'more than a lease to pass' });
    await first.cli('REPLICAOF', 'NO', 'ONE');
    target.port = first.port;
    await proxy.accept();
    await until(async () => (await registry.count()).healthy === FEW, { timeoutMs: 15_000, what: 'everyone to be healthy' });
    expect(await registry.reap()).toEqual([]);
    expect(seen.filter((event) => event.startsWith('crashed'))).toEqual([]);
    await registry.cleanup();
    await other.cleanup();
    await proxy[Symbol.asyncDispose]();
  });

  test('that stands still for longer than a lease: those it could not hear are not declared crashed', async () => {
    const server = await rig.server();
    const config = { url: server.url, commandTimeoutMs: 500, keepAliveMs: 300 };
    const [registry, other] = [rig.manager(config), rig.manager(config)].map((manager) => new WorkerRegistry(manager, FAST)) as [
      WorkerRegistry,
      WorkerRegistry,
    ];
    const { seen } = record(other);
    await other.ready();
    const { epoch } = await registry.register({ id: 'w' });
    await other.register({ id: 'o' });
    await server.freeze();
    const away = performance.now();
    await until(() => performance.now() - away > 2_000, { what: 'more than two leases to pass' });
    server.thaw();
    await until(async () => (await other.count()).healthy === 2, { timeoutMs: 15_000, what: 'both to be healthy' });
    expect((await other.get('w'))?.epoch).toBe(epoch);
    expect(seen.filter((event) => event.startsWith('crashed'))).toEqual([]);
    await registry.cleanup();
    await other.cleanup();
  });

  test('that loses its scripts, and one whose replies are lost: a worker is registered once, a slot claimed once', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const through = rig.manager({ url: `redis://${proxy.host}:${proxy.port}`, reconnect: { minDelayMs: 10, maxDelayMs: 50 } });
    const registry = new WorkerRegistry(through, { autoHeartbeat: false, heartbeatIntervalMs: 60_000 });
    const direct = new WorkerRegistry(rig.manager(server.url));
    await registry.register({ id: 'w', capacity: 1_000 });
    await server.cli('SCRIPT', 'FLUSH');
    expect(await registry.heartbeat('w')).toBe(true);
    const { position } = await direct.snapshot();
    let cuts = 0;
    const claims: (WorkerClaim | null)[] = [];
    for (let round = 0; round < 20; round += 1) {
      const working = Promise.all(
        Array.from({ length: 10 }, async (_, n) => {
          await registry.register({ id: `r${round * 10 + n}`, capacity: 0 });
          return registry.claim({ leaseMs: 60_000 });
        }),
      );
      // In the middle of it: some are on their way, some answers too.
      await direct.count();
      proxy.cut();
      cuts += 1;
      claims.push(...(await working));
    }
    expect(cuts).toBeGreaterThan(0);
    expect(claims.every((claim) => claim?.workerId === 'w')).toBe(true);
    expect(await direct.get('w')).toMatchObject({ claimed: 200 });
    const { events } = await direct.readEvents(position);
    expect(events.filter(({ event }) => event === 'joined')).toHaveLength(200);
    expect(events.filter(({ event }) => event === 'left')).toHaveLength(0);
  });
});

describe('a process', () => {
  test('is not kept alive by a registered worker, and one that ends without a word has crashed at once', async () => {
    const server = await rig.server();
    const registry = new WorkerRegistry(rig.manager(server.url), { autoHeartbeat: false });
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const registry = new redis.WorkerRegistry(new redis.RedisConnectionManager(args.url));
        emit((await registry.register({ id: 'w' })).health);
      },
      { args: { url: server.url } },
    );
    expect(ended).toMatchObject({ code: 0, lines: ['healthy'], stderr: '' });
    await until(async () => (await registry.health('w')) === 'crashed', { what: 'the crash, long before its time is up' });
    expect((await registry.reap()).map(({ id }) => id)).toEqual(['w']);
  });

  test('whose worker thread is terminated lives on, and the workers of that thread have crashed at once', async () => {
    const server = await rig.server();
    const registry = new WorkerRegistry(rig.manager(server.url), { autoHeartbeat: false });
    const thread = new Worker(
      `const { RedisConnectionManager, WorkerRegistry } = require(${JSON.stringify(PACKAGE_ROOT)});
       const { parentPort, workerData } = require('node:worker_threads');
       new WorkerRegistry(new RedisConnectionManager(workerData)).register({ id: 'w' }).then(() => parentPort.postMessage('ready'));
       setInterval(() => {}, 1000);`,
      { eval: true, workerData: server.url },
    );
    await new Promise((resolve) => thread.once('message', resolve));
    expect(await registry.health('w')).toBe('healthy');
    await thread.terminate();
    await until(async () => (await registry.health('w')) === 'crashed', { what: 'the crash' });
  });

  test('is kept alive by a listener of the fleet, until it is removed', async () => {
    const server = await rig.server();
    const child = startProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const registry = new redis.WorkerRegistry(new redis.RedisConnectionManager(args.url));
        const joined = (worker: WorkerInfo): void => {
          emit(worker.id);
          registry.off('joined', joined);
        };
        registry.on('joined', joined);
        await registry.ready();
        emit('ready');
      },
      { args: { url: server.url } },
    );
    await child.line((line) => line === 'ready');
    await new WorkerRegistry(rig.manager(server.url), { autoHeartbeat: false }).register({ id: 'w' });
    expect(await child.ended).toMatchObject({ code: 0, lines: ['ready', 'w'] });
  });

  test('beats on while timers are faked', async () => {
    const server = await rig.server();
    const registry = new WorkerRegistry(rig.manager(server.url), FAST);
    const child = startProcess<{ url: string; options: object }>(
      async ({ redis, emit, args }) => {
        const observer = new redis.WorkerRegistry(new redis.RedisConnectionManager(args.url), args.options);
        observer.on('crashed', (worker) => emit({ crashed: worker.id }));
        await observer.ready();
        emit('ready');
        const begin = Date.now();
        while (Date.now() - begin < 1_500) await observer.get('w');
        emit(await observer.get('w'));
        await observer.cleanup();
      },
      { args: { url: server.url, options: FAST } },
    );
    await child.line((line) => line === 'ready');
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'Date', 'performance'] });
    let epoch: number;
    try {
      epoch = (await registry.register({ id: 'w' })).epoch;
      const ended = await child.ended;
      expect(ended.lines.at(-1)).toMatchObject({ id: 'w', epoch, health: 'healthy' });
      expect(ended.lines).toHaveLength(2);
      await registry.cleanup();
    } finally {
      vi.useRealTimers();
    }
  });

  test('shows no secret, and no metadata in its errors', async () => {
    const server = await rig.server({ password: 'hunter2' });
    const registry = new WorkerRegistry(rig.manager(server.url), { autoHeartbeat: false });
    await registry.register({ id: 'w', metadata: { token: 'swordfish' } });
    expect(inspect(registry, { depth: 10, showHidden: true })).not.toContain('hunter2');
    const errors = await Promise.allSettled([
      registry.register({ id: 'swordfish'.repeat(1_000) }),
      registry.register({ metadata: { token: `swordfish${'x'.repeat(70_000)}` } }),
      registry.heartbeat('w', { status: 'swordfish' as 'idle' }),
      registry.claim({ capabilities: ['swordfish'.repeat(100)] }),
    ]);
    for (const outcome of errors) {
      if (outcome.status === 'fulfilled') throw new Error('expected a rejection');
      expect(inspect(outcome.reason)).not.toContain('swordfish');
    }
  });
});
