/** The registry when the server acts, or may have, and nobody hears its answer. */
import { WorkerRegistry } from 'redis-backplane';
import { describe, expect, test } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until, within } from '../support/until.ts';

const rig = useRig();

describe('reap()', () => {
  /** Their time is up at once, and no number of them is a storm. */
  const CRASHING = { autoHeartbeat: false, heartbeatIntervalMs: 10, degradedAfterMs: 20, crashedAfterMs: 30, stormShare: 1 };
  const RECONNECT = { minDelayMs: 10, maxDelayMs: 20 };

  test.each([
    { crashes: 3, heard: 'nothing', bytes: 0, others: 0 },
    // A batch of 200 is about 230 000 bytes.
    { crashes: 450, heard: 'the first batch', bytes: 350_000, others: 50 },
  ])('of $crashes crashes that hears $heard rejects, and the next one of that registry gives them', async ({ crashes, bytes, others }) => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const direct = new WorkerRegistry(rig.manager(server.url), CRASHING);
    const through = rig.manager({ url: `redis://${proxy.host}:${proxy.port}`, commandTimeoutMs: 1_000, reconnect: RECONNECT });
    const reaper = new WorkerRegistry(through, CRASHING);
    expect(await reaper.reap()).toEqual([]);
    const ids = Array.from({ length: crashes }, (_, n) => `w${n}`);
    for (let from = 0; from < crashes; from += 100) {
      const some = ids.slice(from, from + 100);
      await Promise.all(some.map((id) => direct.register({ id, metadata: { text: 'x'.repeat(700) } })));
    }
    await until(async () => (await direct.count()).crashed === crashes, { what: 'all of them to have crashed' });

    // What is lost cannot be asked for again in time.
    await proxy.refuse();
    proxy.set({ down: { dropAfterBytes: bytes } });
    expect((await failureOf(reaper.reap())).redisErrorKind).toBe('timeout');
    proxy.heal();
    await proxy.accept();
    // Another one is handed the rest only.
    const rest = await direct.reap();
    expect(rest).toHaveLength(others);
    const reaped = [...rest, ...(await reaper.reap())];
    expect(reaped.map(({ id }) => id).sort()).toEqual(ids.sort());
    expect(await reaper.reap()).toEqual([]);
    expect(await server.cli('KEYS', '*reaped*')).toEqual([]);
  });
});

describe('a candidate', () => {
  test('that waits for a role does so over a restart of the server, and has it then', async () => {
    const server = await rig.server({ durable: true });
    const reconnect = { minDelayMs: 10, maxDelayMs: 50 };
    const [leading, waiting] = [0, 1].map(() => new WorkerRegistry(rig.manager({ url: server.url, commandTimeoutMs: 1_000, reconnect })));
    const leader = await (leading as WorkerRegistry).elect('role');
    const elected = (waiting as WorkerRegistry).elect('role', { waitMs: 60_000 });
    const channels = async () => (await server.cli('PUBSUB', 'CHANNELS')) as string[];
    await until(async () => (await channels()).some((name) => name.endsWith(':resigned')), { what: 'the candidate to wait' });
    await server.kill9();
    await server.restart();
    await leader.resign();
    const next = await within(30_000, elected, 'the candidate to be elected');
    expect(next.token).toBeGreaterThan(leader.token);
    await next.resign();
  });
});

describe('events', () => {
  test('whose large metadata cannot be read at first are told all the same, and in order', async () => {
    const server = await rig.server();
    const watcher = new WorkerRegistry(rig.manager({ url: server.url, commandTimeoutMs: 300 }), { heartbeatIntervalMs: 100 });
    const told: unknown[] = [];
    watcher.on('joined', (worker) => told.push([worker.id, Object.keys(worker.metadata).length]));
    watcher.on('gap', ({ missed }) => told.push({ missed }));
    await watcher.ready();
    const manager = rig.manager(server.url);
    const registry = new WorkerRegistry(manager, { autoHeartbeat: false });
    await registry.register({ id: '0' });
    await until(() => told.length === 1, { what: 'the first one to be told' });
    // What writes is held up for longer than the deadline of a command, from when they are registered; the stream can be read.
    await Promise.all([
      registry.register({ id: '1' }),
      registry.register({ id: '2', metadata: { large: 'x'.repeat(5_000) } }),
      registry.register({ id: '3' }),
      manager.command('CLIENT', 'PAUSE', 1_000, 'WRITE'),
    ]);
    await registry.register({ id: '4' });
    await until(() => told.length === 5, { what: () => `all to be told: ${JSON.stringify(told)}` });
    expect(told).toEqual([
      ['0', 0],
      ['1', 0],
      ['2', 1],
      ['3', 0],
      ['4', 0],
    ]);
    await watcher.cleanup();
  });

  test('that were trimmed before they were read are told as a gap, with their number', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const reconnect = { minDelayMs: 10, maxDelayMs: 20 };
    const watcher = new WorkerRegistry(rig.manager({ url: `redis://${proxy.host}:${proxy.port}`, reconnect }), {
      heartbeatIntervalMs: 100,
    });
    const told: unknown[] = [];
    watcher.on('joined', ({ id }) => told.push(id));
    watcher.on('gap', ({ missed }) => told.push({ missed }));
    await watcher.ready();
    const manager = rig.manager(server.url);
    const registry = new WorkerRegistry(manager, { autoHeartbeat: false });
    await registry.register({ id: 'heard' });
    await until(() => told.length === 1, { what: 'the first one to be told' });
    await proxy.refuse();
    proxy.reset();
    for (const id of ['a', 'b', 'c']) await registry.register({ id });
    const streams = (await server.keys()).filter(({ key }) => key.endsWith(':events'));
    expect(streams).toHaveLength(1);
    await manager.command('XTRIM', String(streams[0]?.key), 'MAXLEN', 0);
    await registry.register({ id: 'after' });
    await proxy.accept();
    await until(() => told.includes('after'), { what: () => `the last one to be told: ${JSON.stringify(told)}`, timeoutMs: 10_000 });
    expect(told).toEqual(['heard', { missed: 3 }, 'after']);
    await watcher.cleanup();
  });

  test('ready() rejects while there is no server, and resolves once there is one', async () => {
    const server = await rig.server();
    await server.kill9();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 500 });
    const registry = new WorkerRegistry(manager, { autoHeartbeat: false, heartbeatIntervalMs: 100 });
    const told: string[] = [];
    registry.on('joined', ({ id }) => told.push(id));
    await failureOf(registry.ready());
    await failureOf(registry.ready());
    await server.restart();
    await manager.connect();
    await until(
      () =>
        registry.ready().then(
          () => true,
          () => false,
        ),
      { what: 'ready() to resolve' },
    );
    await registry.register({ id: 'w' });
    await until(() => told.length > 0, { what: 'the event' });
    await registry.ready();
    expect(told).toEqual(['w']);
    await registry.cleanup();
  });
});

describe('register()', () => {
  const FAST = { heartbeatIntervalMs: 100, degradedAfterMs: 1_000, crashedAfterMs: 2_000 };

  test('whose answer is lost leaves no worker of its own, and those of this process with its id go on', async () => {
    const server = await rig.server();
    const observer = new WorkerRegistry(rig.manager(server.url), { autoHeartbeat: false });
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 300 });
    const registry = new WorkerRegistry(manager, FAST);
    const manual = new WorkerRegistry(manager, { ...FAST, crashedAfterMs: 60_000, autoHeartbeat: false });
    const fenced: [string, number, number | undefined][] = [];
    for (const one of [registry, manual]) one.on('fenced', ({ id, epoch }, next) => fenced.push([id, epoch, next?.epoch]));
    const before = await registry.register({ id: 'a' });
    const beforeManual = await manual.register({ id: 'm' });
    expect(await manual.heartbeat('m')).toBe(true);
    await server.freeze();
    const failed = [
      registry.register({ id: 'a', capacity: 2 }),
      manual.register({ id: 'm', capacity: 2 }),
      registry.register({ id: 'ghost' }),
    ];
    for (const outcome of await Promise.all(failed.map((one) => failureOf(one)))) expect(outcome.redisErrorKind).toBe('timeout');
    server.thaw();
    await until(() => manual.heartbeat('m').catch(() => false), { what: 'one to be registered again with its heartbeat' });
    await until(() => fenced.length === 2, { what: 'the one that beats by itself to be registered again' });
    await until(async () => (await observer.get('ghost')) === null, { what: 'what nobody knows of to be taken back' });
    const [a, m] = await Promise.all([observer.get('a'), observer.get('m')]);
    expect([a, m]).toMatchObject([
      { health: 'healthy', capacity: 1 },
      { health: 'healthy', capacity: 1 },
    ]);
    expect(fenced.sort()).toEqual([
      ['a', before.epoch, a?.epoch],
      ['m', beforeManual.epoch, m?.epoch],
    ]);
    expect(await registry.unregister('a')).toBe(true);
    expect(await manual.unregister('m')).toBe(true);
    expect(await observer.list()).toEqual([]);
  });

  test('whose answer is lost leaves nothing where its id is unregistered right away', async () => {
    const server = await rig.server();
    const observer = new WorkerRegistry(rig.manager(server.url), { autoHeartbeat: false });
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 300 });
    const registry = new WorkerRegistry(manager, { ...FAST, autoHeartbeat: false });
    // The server knows both scripts: else what is lost is its not knowing them.
    await registry.register({ id: 'a' });
    expect(await registry.unregister('b')).toBe(false);
    await server.freeze();
    await failureOf(registry.register({ id: 'a' }));
    await failureOf(registry.unregister('a'));
    server.thaw();
    await until(async () => (await observer.list()).length === 0, { what: 'both registrations to be over' });
  });
});

test('elect() with a server that stands still rejects after waitMs, and leads nothing', async () => {
  const server = await rig.server();
  const registry = new WorkerRegistry(rig.manager({ url: server.url, commandTimeoutMs: 30_000 }));
  await (await registry.elect('role')).resign();
  await server.freeze();
  const began = performance.now();
  expect((await failureOf(registry.elect('role', { waitMs: 100 }))).redisErrorKind).toBe('timeout');
  expect(performance.now() - began).toBeLessThan(stretched(5_000));
  server.thaw();
  await using other = await registry.elect('role');
  expect(other.role).toBe('role');
});
