/** The worker registry: registering, heartbeats, finding, reaping, commands and events. */
import { hostname } from 'node:os';
import { type RedisConnectionManager, type WorkerCommand, type WorkerEvent, type WorkerInfo, WorkerRegistry } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { starvation } from '../support/starvation.ts';
import { until } from '../support/until.ts';

/** Short enough to be seen to pass, long enough for a machine that is busy with something else. */
const slower = starvation();
const FAST = {
  heartbeatIntervalMs: Math.round(60 * slower),
  degradedAfterMs: Math.round(300 * slower),
  crashedAfterMs: Math.round(500 * slower),
};
const ids = (workers: WorkerInfo[]): string[] => workers.map(({ id }) => id).sort();

describeBackends('registry', (backend) => {
  let manager: RedisConnectionManager;
  let registry: WorkerRegistry;

  beforeEach(() => {
    manager = backend.manager();
    registry = new WorkerRegistry(manager, { autoHeartbeat: false });
  });

  test('a worker is what it was registered as', async () => {
    const before = Date.now();
    const worker = await registry.register({
      id: 'w',
      type: 'render',
      capabilities: ['gpu', 'cpu', 'gpu'],
      metadata: { zone: 'a', nested: { n: [1, null] } },
      capacity: 3,
    });
    expect(worker).toEqual({
      id: 'w',
      type: 'render',
      capabilities: ['gpu', 'cpu'],
      metadata: { zone: 'a', nested: { n: [1, null] } },
      capacity: 3,
      status: 'idle',
      health: 'healthy',
      load: 0,
      claimed: 0,
      epoch: expect.any(Number),
      registeredAt: expect.any(Number),
      lastHeartbeatAt: worker.registeredAt,
      hostname: hostname(),
      pid: process.pid,
      eventLoopLagMs: expect.any(Number),
      lastTickAgeMs: expect.any(Number),
      memoryBytes: expect.any(Number),
    });
    expect(Number.isSafeInteger(worker.epoch)).toBe(true);
    expect(Math.abs(worker.registeredAt - before)).toBeLessThan(60_000);
    expect(await registry.get('w')).toEqual(worker);
    expect(await registry.health('w')).toBe('healthy');
  });

  test('a worker of which nothing is said has a random id and one slot', async () => {
    const [a, b] = await Promise.all([registry.register(), registry.register({})]);
    expect(a.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(a.id).not.toBe(b.id);
    expect(a).toMatchObject({ type: 'worker', capabilities: [], metadata: {}, capacity: 1 });
  });

  test('who was never registered is unknown', async () => {
    expect(await registry.get('nobody')).toBeNull();
    expect(await registry.health('nobody')).toBe('unknown');
    expect(await registry.heartbeat('nobody')).toBe(false);
    expect(await registry.setStatus('nobody', 'busy')).toBe(false);
    expect(await registry.unregister('nobody')).toBe(false);
    expect(await registry.send('nobody', 'pause')).toBe(false);
    expect(await registry.count()).toEqual({ total: 0, healthy: 0, degraded: 0, crashed: 0 });
    expect(await registry.list()).toEqual([]);
    expect(await registry.reap()).toEqual([]);
    expect(await registry.claim()).toBeNull();
  });

  test('a heartbeat says what has changed, and only that', async () => {
    const first = await registry.register({ id: 'w', metadata: { v: 1 } });
    expect(await registry.heartbeat('w', { load: 0.25, status: 'busy' })).toBe(true);
    expect(await registry.get('w')).toMatchObject({ load: 0.25, status: 'busy', metadata: { v: 1 }, epoch: first.epoch });
    expect(await registry.heartbeat('w', { metadata: { v: 2 } })).toBe(true);
    expect(await registry.get('w')).toMatchObject({ load: 0.25, status: 'busy', metadata: { v: 2 } });
    expect(await registry.heartbeat('w', { metadata: {} })).toBe(true);
    expect(await registry.get('w')).toMatchObject({ metadata: {} });
    expect(await registry.heartbeat('w', { degraded: true })).toBe(true);
    expect(await registry.get('w')).toMatchObject({ health: 'degraded', degradedBecause: 'reported' });
    expect(await registry.count()).toMatchObject({ total: 1, healthy: 0, degraded: 1 });
    expect(await registry.heartbeat('w')).toBe(true);
    expect(await registry.health('w')).toBe('degraded');
    expect(await registry.heartbeat('w', { degraded: false })).toBe(true);
    const last = await registry.get('w');
    expect(last?.health).toBe('healthy');
    expect(last?.degradedBecause).toBeUndefined();
    expect(last?.lastHeartbeatAt).toBeGreaterThanOrEqual(first.lastHeartbeatAt);
  });

  test('heartbeats of many workers, and of one worker several times, travel together', async () => {
    await Promise.all(Array.from({ length: 600 }, (_, n) => registry.register({ id: `w${n}` })));
    const before = manager.metrics().redis_operation_duration_ms['registry.heartbeat']?.count ?? 0;
    const beats = await Promise.all([
      ...Array.from({ length: 600 }, (_, n) => registry.heartbeat(`w${n}`)),
      registry.heartbeat('w0', { load: 0.5 }),
      registry.heartbeat('w0', { status: 'busy' }),
      registry.heartbeat('nobody'),
    ]);
    expect(beats).toEqual([...new Array(602).fill(true), false]);
    expect(await registry.get('w0')).toMatchObject({ load: 0.5, status: 'busy' });
    const calls = (manager.metrics().redis_operation_duration_ms['registry.heartbeat']?.count ?? 0) - before;
    expect(calls).toBeLessThan(15);
    expect(manager.metrics()).toMatchObject({ redis_registry_workers: 600 });
    await registry.cleanup();
    expect(await registry.count()).toEqual({ total: 0, healthy: 0, degraded: 0, crashed: 0 });
    expect(manager.metrics()).toMatchObject({ redis_registry_workers: 0 });
  });

  test('status is declared by the worker and by others, and is apart from health', async () => {
    await registry.register({ id: 'w' });
    const elsewhere = new WorkerRegistry(backend.manager());
    expect(await registry.setStatus('w', 'paused')).toBe(true);
    expect(ids(await elsewhere.list({ status: 'paused' }))).toEqual(['w']);
    expect(await elsewhere.setStatus('w', 'draining')).toBe(true);
    expect(await registry.get('w')).toMatchObject({ status: 'draining', health: 'healthy' });
    expect(await elsewhere.list({ status: 'paused' })).toEqual([]);
  });

  test('workers are found by type, capabilities, status and health, together', async () => {
    await registry.register({ id: 'a', type: 't', capabilities: ['x'] });
    await registry.register({ id: 'b', type: 't', capabilities: ['x', 'y'] });
    await registry.register({ id: 'c', type: 'u', capabilities: ['y'] });
    await registry.heartbeat('b', { degraded: true });
    await registry.setStatus('a', 'busy');
    expect(ids(await registry.list())).toEqual(['a', 'b', 'c']);
    expect(ids(await registry.list({ type: 't' }))).toEqual(['a', 'b']);
    expect(ids(await registry.list({ capabilities: ['y'] }))).toEqual(['b', 'c']);
    expect(ids(await registry.list({ capabilities: ['x', 'y'] }))).toEqual(['b']);
    expect(ids(await registry.list({ type: 'u', capabilities: ['x'] }))).toEqual([]);
    expect(ids(await registry.list({ status: 'idle' }))).toEqual(['b', 'c']);
    expect(ids(await registry.list({ status: 'idle', type: 't' }))).toEqual(['b']);
    expect(ids(await registry.list({ health: 'healthy' }))).toEqual(['a', 'c']);
    expect(ids(await registry.list({ health: 'degraded', capabilities: ['x'] }))).toEqual(['b']);
    expect(await registry.list({ health: 'crashed' })).toEqual([]);
    expect(await registry.list({ health: 'unknown' })).toEqual([]);
    expect(await registry.list({ type: 'nothing' })).toEqual([]);
    expect(await registry.list({ limit: 2 })).toHaveLength(2);
  });

  test('a large fleet is listed whole, and in part', async () => {
    await Promise.all(
      Array.from({ length: 1_500 }, (_, n) =>
        registry.register({ id: `w${n}`, type: n % 3 === 0 ? 'third' : 'rest', capabilities: [`${n % 2}`] }),
      ),
    );
    const all = await registry.list();
    expect(new Set(ids(all)).size).toBe(1_500);
    expect(all).toHaveLength(1_500);
    expect(await registry.list({ type: 'third' })).toHaveLength(500);
    expect(await registry.list({ type: 'third', capabilities: ['0'] })).toHaveLength(250);
    expect(await registry.list({ type: 'rest', limit: 7 })).toHaveLength(7);
    expect(await registry.list({ health: 'healthy', status: 'idle' })).toHaveLength(1_500);
    expect(await registry.count()).toEqual({ total: 1_500, healthy: 1_500, degraded: 0, crashed: 0 });
  });

  test('an id that is registered again has a new epoch, and its old holder is told', async () => {
    const first = await registry.register({ id: 'w', capabilities: ['old'] });
    const fenced: unknown[] = [];
    registry.on('fenced', (worker, next) => fenced.push([worker.epoch, next]));
    const other = new WorkerRegistry(backend.manager(), { autoHeartbeat: false });
    const second = await other.register({ id: 'w', capabilities: ['new'] });
    expect(second.epoch).toBeGreaterThan(first.epoch);
    expect(await registry.heartbeat('w', { status: 'busy' })).toBe(false);
    await until(() => fenced.length > 0, { what: 'the old holder to be told' });
    expect(fenced).toEqual([[first.epoch, null]]);
    expect(await registry.heartbeat('w')).toBe(false);
    expect(await other.heartbeat('w')).toBe(true);
    expect(await registry.list({ capabilities: ['old'] })).toEqual([]);
    expect(await registry.get('w')).toMatchObject({ epoch: second.epoch, status: 'idle' });
    expect(await registry.reap()).toEqual([]);
  });

  test('a worker that is unregistered before it is registered is gone for good, and its register() rejects', async () => {
    const beating = new WorkerRegistry(manager, FAST);
    const fenced: unknown[] = [];
    beating.on('fenced', (...event) => fenced.push(event));
    for (const first of ['none', 'another of that id']) {
      for (const end of [() => beating.unregister('w'), () => beating.cleanup().then(() => true)]) {
        if (first !== 'none') await beating.register({ id: 'w' });
        const registering = failureOf(beating.register({ id: 'w' }));
        expect(await end()).toBe(true);
        expect(await registering).toMatchObject({ redisErrorKind: 'cancelled' });
        expect(await registry.list()).toEqual([]);
        // Whoever beats for it would register it again.
        const { registeredAt } = await beating.register({ id: 'other' });
        await until(async () => ((await registry.get('other'))?.lastHeartbeatAt ?? 0) > registeredAt + 150, { what: 'three heartbeats' });
        expect(ids(await registry.list())).toEqual(['other']);
        expect(await beating.unregister('other')).toBe(true);
      }
    }
    expect(fenced).toEqual([]);
    // Who registers again meanwhile means it.
    const [, , worker] = await Promise.all([
      failureOf(beating.register({ id: 'w' })),
      beating.unregister('w'),
      beating.register({ id: 'w' }),
    ]);
    expect(await registry.get('w')).toMatchObject({ epoch: worker.epoch, health: 'healthy' });
    await beating.cleanup();
  });

  test('a listener for the next time only can be removed before', async () => {
    const told: string[] = [];
    const listener = (): void => void told.push('removed');
    registry.once('joined', listener).off('joined', listener);
    registry.once('joined', ({ id }) => told.push(`once ${id}`));
    registry.on('joined', ({ id }) => told.push(id));
    const errors: unknown[] = [];
    const failed = (error: unknown): void => void errors.push(error);
    manager.once('state', failed).off('state', failed);
    await registry.ready();
    await registry.register({ id: 'a' });
    await registry.register({ id: 'b' });
    await until(() => told.includes('b'), { what: 'both events' });
    expect(told).toEqual(['once a', 'a', 'b']);
    await manager.disconnect();
    expect(errors).toEqual([]);
  });

  test('workers beat by themselves, and without that are late, then crashed, and then handed to one', async () => {
    const beating = new WorkerRegistry(manager, FAST);
    const silent = new WorkerRegistry(manager, { ...FAST, autoHeartbeat: false });
    const { epoch } = await beating.register({ id: 'beats' });
    await silent.register({ id: 'silent' });
    await until(async () => (await registry.get('silent'))?.degradedBecause === 'late', { what: 'silence to be noticed' });
    expect(await registry.list({ health: 'degraded' })).toMatchObject([{ id: 'silent', degradedBecause: 'late' }]);
    await until(async () => (await registry.health('silent')) === 'crashed', { what: 'the silent worker to be declared crashed' });
    expect(await registry.count()).toMatchObject({ total: 2, healthy: 1, crashed: 1 });
    expect(ids(await registry.list({ health: 'crashed' }))).toEqual(['silent']);
    const reaped = await Promise.all(Array.from({ length: 5 }, () => registry.reap()));
    expect(ids(reaped.flat())).toEqual(['silent']);
    expect(reaped.flat()[0]).toMatchObject({ health: 'crashed' });
    expect(await silent.heartbeat('silent')).toBe(false);
    expect(await registry.health('silent')).toBe('crashed');
    expect(await registry.get('beats')).toMatchObject({ health: 'healthy', epoch });
    expect(await registry.reap()).toEqual([]);
    await beating.cleanup();
  });

  test('events are told of the whole fleet, in order, and can be read from a position', async () => {
    const observer = new WorkerRegistry(backend.manager(), FAST);
    const seen: [string, string][] = [];
    for (const event of ['joined', 'left', 'status', 'degraded', 'recovered', 'crashed'] as const) {
      observer.on(event, (worker) => seen.push([event, worker.id]));
    }
    const { position } = await observer.snapshot();
    await observer.ready();
    await registry.register({ id: 'a', metadata: { m: 1 } });
    await registry.setStatus('a', 'busy');
    await registry.setStatus('a', 'busy');
    await registry.heartbeat('a', { degraded: true });
    await registry.heartbeat('a', { degraded: false, load: 0.5 });
    await registry.unregister('a');
    const silent = new WorkerRegistry(manager, { ...FAST, autoHeartbeat: false });
    await silent.register({ id: 'b' });
    const expected = [
      ['joined', 'a'],
      ['status', 'a'],
      ['degraded', 'a'],
      ['recovered', 'a'],
      ['left', 'a'],
      ['joined', 'b'],
      ['degraded', 'b'],
      ['crashed', 'b'],
    ];
    await until(() => seen.length >= expected.length, { what: () => `eight events; came: ${JSON.stringify(seen)}` });
    expect(seen).toEqual(expected);
    const { events, complete, position: end } = await registry.readEvents(position);
    expect(complete).toBe(true);
    expect(events.map(({ event, worker }) => [event, worker.id])).toEqual(expected);
    expect(events[0]).toMatchObject({ event: 'joined', at: expect.any(Number), worker: { metadata: { m: 1 }, health: 'healthy' } });
    expect(events[2]).toMatchObject({ worker: { health: 'degraded', degradedBecause: 'reported' } });
    expect(events[7]).toMatchObject({ worker: { health: 'crashed' } });
    expect(await registry.readEvents(end)).toEqual({ events: [], position: end, complete: true });
    const part = await registry.readEvents(position, { limit: 3 });
    expect(part.events).toHaveLength(3);
    expect((await registry.readEvents(part.position)).events).toEqual(events.slice(3));
    await observer.cleanup();
  });

  test('what happens after on() is told, also before it is ready', async () => {
    const seen: string[] = [];
    registry.on('joined', ({ id }) => seen.push(id));
    await registry.register({ id: 'first' });
    await registry.ready();
    // At once, not when it is looked again for what was missed.
    await until(() => seen.length > 0, { what: 'the event', timeoutMs: 2_000 });
    expect(seen).toEqual(['first']);
    await registry.cleanup();
  });

  test('a listener that throws harms neither the others nor the process, and one that is removed hears nothing', async () => {
    const seen: string[] = [];
    const removed = (): number => seen.push('removed');
    registry.on('joined', () => {
      throw new Error('of its own');
    });
    registry.on('joined', removed).off('joined', removed);
    registry.once('joined', ({ id }) => seen.push(`once ${id}`));
    registry.on('joined', ({ id }) => seen.push(id));
    await registry.ready();
    await registry.register({ id: 'a' });
    await registry.register({ id: 'b' });
    await until(() => seen.includes('b'), { what: 'the events' });
    expect(seen).toEqual(['once a', 'a', 'b']);
    await registry.cleanup();
  });

  test('metadata too large for events come with them while the registration lasts', async () => {
    const metadata = { text: 'x'.repeat(60_000) };
    const { position } = await registry.snapshot();
    await registry.register({ id: 'w', metadata });
    expect((await registry.readEvents(position)).events[0]?.worker.metadata).toEqual(metadata);
    await registry.unregister('w');
    const { events } = await registry.readEvents(position);
    expect(events.map(({ event, worker }) => [event, worker.metadata])).toEqual([
      ['joined', {}],
      ['left', {}],
    ]);
  });

  test('commands come with heartbeats, in order and once', async () => {
    const commands: [WorkerCommand, string][] = [];
    registry.on('command', (command, worker) => commands.push([command, worker.id]));
    await registry.register({ id: 'w' });
    const operator = new WorkerRegistry(backend.manager());
    expect(await operator.send('w', 'pause')).toBe(true);
    expect(await operator.send('w', { name: 'drain', data: { by: 'ops', hard: false } })).toBe(true);
    expect(await registry.heartbeat('w')).toBe(true);
    await until(() => commands.length === 2, { what: 'two commands' });
    expect(commands).toEqual([
      [{ name: 'pause' }, 'w'],
      [{ name: 'drain', data: { by: 'ops', hard: false } }, 'w'],
    ]);
    expect(await registry.heartbeat('w')).toBe(true);
    expect(await operator.send('w', 'shutdown')).toBe(true);
    expect(await registry.heartbeat('w')).toBe(true);
    await until(() => commands.length === 3, { what: 'the third command' });
    expect(commands[2]).toEqual([{ name: 'shutdown' }, 'w']);
    // What it was given counts until it says so.
    expect(await registry.heartbeat('w')).toBe(true);
    for (let n = 0; n < 100; n += 1) await operator.send('w', 'resume');
    expect(await failureOf(operator.send('w', 'resume'))).toMatchObject({ redisErrorKind: 'overloaded' });
  });

  test('commands of a worker that beats by itself need no heartbeat of its own', async () => {
    const beating = new WorkerRegistry(manager, FAST);
    const commands: string[] = [];
    beating.on('command', ({ name }) => commands.push(name));
    await beating.register({ id: 'w' });
    for (const name of ['pause', 'resume', 'drain'] as const) await registry.send('w', name);
    await until(() => commands.length === 3, { what: 'three commands' });
    await registry.send('w', 'shutdown');
    await until(() => commands.length === 4, { what: 'the fourth' });
    expect(commands).toEqual(['pause', 'resume', 'drain', 'shutdown']);
    await beating.cleanup();
  });

  test('what is reported goes with the next automatic heartbeat', async () => {
    const beating = new WorkerRegistry(manager, FAST);
    await beating.register({ id: 'w' });
    beating.report('w', { load: 0.75 });
    beating.report('nobody', { load: 1 });
    await until(async () => (await registry.get('w'))?.load === 0.75, { what: 'the load to be known' });
    await beating.cleanup();
  });

  test('cleanup unregisters what this registry registered, and nothing else', async () => {
    const other = new WorkerRegistry(manager, { autoHeartbeat: false });
    await other.register({ id: 'other' });
    const left: string[] = [];
    other.on('left', ({ id }) => left.push(id));
    await other.ready();
    {
      await using mine = new WorkerRegistry(manager, FAST);
      await mine.register({ id: 'mine 1' });
      await mine.register({ id: 'mine 2' });
    }
    expect(ids(await other.list())).toEqual(['other']);
    await until(() => left.length === 2, { what: 'both to be told' });
    expect(await other.reap()).toEqual([]);
    await other.cleanup();
    await other.cleanup();
    expect(await other.list()).toEqual([]);
    await other.register({ id: 'again' });
    expect(ids(await other.list())).toEqual(['again']);
  });

  test('ids, types, capabilities and metadata of any characters come back as they were', async () => {
    const hostile = [
      '\r\n',
      '\0',
      '{}',
      '}{',
      '*?[a-z]',
      ' ',
      'a b 1 2',
      '0',
      '__proto__',
      '"',
      "'",
      '\\',
      '💥',
      'ü',
      '%s',
      'c',
      't',
      '-',
      '~x:~y',
    ];
    for (const text of hostile) {
      const metadata = JSON.parse(`{"__proto__":{"x":1},${JSON.stringify(text)}:${JSON.stringify([text])}}`);
      const worker = await registry.register({ id: text, type: text, capabilities: [text, `${text}${text}`], metadata });
      expect(worker).toMatchObject({ id: text, type: text, capabilities: [text, `${text}${text}`] });
      expect(JSON.stringify(worker.metadata)).toBe(JSON.stringify(metadata));
    }
    for (const text of hostile) {
      expect(await registry.heartbeat(text, { load: 0.5 })).toBe(true);
      expect(ids(await registry.list({ type: text }))).toEqual([text]);
      expect(ids(await registry.list({ type: text, capabilities: [`${text}${text}`, text] }))).toEqual([text]);
      const claim = await registry.claim({ type: text });
      expect(claim?.workerId).toBe(text);
      expect(await claim?.release()).toBe(true);
      expect(await registry.send(text, 'pause')).toBe(true);
      expect(await registry.unregister(text)).toBe(true);
      expect(await registry.get(text)).toBeNull();
    }
    const long = 'x'.repeat(1_024);
    expect((await registry.register({ id: long, type: 'y'.repeat(512), capabilities: ['z'.repeat(512)] })).id).toBe(long);
    expect(await registry.count()).toMatchObject({ total: 1 });
  });

  test('bad arguments are refused by name', async () => {
    await registry.register({ id: 'w' });
    const bad = <T>(value: unknown): T => value as T;
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    const refusals: [() => Promise<unknown>, RegExp][] = [
      [() => registry.register({ id: '' }), /^WorkerRegistry\.register\.id: expected a string of 1 to 1024 bytes, got a string of 0/],
      [() => registry.register({ id: 'x'.repeat(1_025) }), /id: /],
      [() => registry.register({ id: bad(7) }), /id: expected .* got 7/],
      [() => registry.register({ type: bad(null) }), /type: .*got null/],
      [() => registry.register({ capabilities: bad('gpu') }), /capabilities: expected an array of strings, got a string of 3/],
      [
        () => registry.register({ capabilities: ['gpu', ''] }),
        /register\.capabilities\[1\]: expected a string of 1 to 512 bytes, got a string of 0/,
      ],
      [() => registry.register({ capabilities: ['gpu', bad(3)] }), /capabilities\[1\]: .*got 3/],
      [
        () => registry.register({ capabilities: Array.from({ length: 257 }, (_, n) => `${n}`) }),
        /capabilities: expected at most 256, got 257/,
      ],
      [() => registry.register({ capacity: -1 }), /capacity: expected a whole number from 0 to 1000000, got -1/],
      [() => registry.register({ capacity: 1.5 }), /capacity: /],
      [() => registry.register({ capacity: Number.NaN }), /capacity: .*got NaN/],
      [() => registry.register({ capacity: bad(1n) }), /capacity: .*got a BigInt/],
      [() => registry.register({ id: '\ud800' }), /register\.id: .*got a string with a lone surrogate/],
      [() => registry.register({ metadata: bad('text') }), /metadata: expected an object, got a string of 4/],
      [() => registry.register({ metadata: bad([1]) }), /metadata: expected an object, got an array/],
      [() => registry.register({ metadata: bad(null) }), /metadata: /],
      [() => registry.register({ metadata: { text: 'x'.repeat(65_536) } }), /metadata: expected at most 65536 bytes of JSON/],
      [() => registry.register({ metadata: { text: 'ü'.repeat(40_000) } }), /metadata: expected at most 65536 bytes of JSON/],
      [() => registry.register(bad({ name: 'w' })), /register\.name: expected one of the options/],
      [() => registry.heartbeat('w', { load: -0.1 }), /load: expected a number from 0 to 1000000000, got -0\.1/],
      [() => registry.heartbeat('w', { load: Number.POSITIVE_INFINITY }), /load: /],
      [() => registry.heartbeat('w', { status: bad('dead') }), /status: expected one of idle, busy, paused, draining/],
      [() => registry.heartbeat('w', { degraded: bad(1) }), /degraded: expected true or false, got 1/],
      [() => registry.heartbeat(bad(undefined)), /id: .*got nothing/],
      [() => registry.heartbeat('w', bad({ laod: 1 })), /heartbeat\.laod: /],
      [() => registry.setStatus('w', bad(undefined)), /status: /],
      [() => registry.get(bad(undefined)), /id: /],
      [() => registry.list({ status: bad('dead') }), /status: /],
      [() => registry.list({ health: bad('ill') }), /health: expected one of healthy, degraded, crashed, unknown/],
      [() => registry.list({ limit: 0 }), /limit: expected a whole number from 1/],
      [() => registry.list(bad({ typo: 1 })), /list\.typo: /],
      [() => registry.readEvents('last'), /position: expected a position such as 0-0, got a string of 4/],
      [() => registry.readEvents('0-0', { limit: 10_001 }), /limit: /],
      [() => registry.claim({ leaseMs: 1 }), /leaseMs: expected a number of milliseconds from 10/],
      [() => registry.claim({ capabilities: bad({}) }), /capabilities: /],
      [() => registry.send('w', bad('explode')), /command: expected one of pause, resume, drain, shutdown/],
      [() => registry.send('w', { name: 'pause', data: 'x'.repeat(70_000) }), /command: expected at most 65536 bytes/],
      [() => registry.elect(''), /role: /],
      [() => registry.elect('r', { leaseMs: 99 }), /leaseMs: /],
    ];
    for (const [refused, message] of refusals) {
      const error = await failureOf(refused());
      expect(error.message).toMatch(message);
      expect(error.redisErrorKind).toBe('config');
    }
    const inexpressible: [() => Promise<unknown>, RegExp][] = [
      [() => registry.register({ metadata: circular }), /metadata: expected a value that JSON can express/],
      [() => registry.register({ metadata: { f: () => 1 } }), /metadata: expected a value that JSON can express, got a function/],
      [() => registry.register({ metadata: { n: 1n } }), /metadata: expected a value that JSON can express, got a BigInt/],
      [() => registry.register({ metadata: { deep: [{ n: Number.NaN }] } }), /metadata: expected a value that JSON can express, got NaN/],
      [() => registry.heartbeat('w', { metadata: { n: Number.NaN } }), /metadata: expected a value that JSON can express, got NaN/],
      [() => registry.send('w', { name: 'pause', data: 1n }), /command: expected a value that JSON can express, got a BigInt/],
    ];
    for (const [refused, message] of inexpressible) {
      const error = await failureOf(refused());
      expect(error.message).toMatch(message);
      expect(error.redisErrorKind).toBe('serialization');
    }
    for (const [options, message] of [
      [{ heartbeatIntervalMs: 5_000, degradedAfterMs: 5_000 }, /degradedAfterMs: .*heartbeatIntervalMs, 5000 ms, got 5000/],
      [{ degradedAfterMs: 4_000 }, /degradedAfterMs: .*heartbeatIntervalMs/],
      [{ degradedAfterMs: 30_000 }, /crashedAfterMs: .*degradedAfterMs, 30000 ms, got 30000/],
      [{ crashedAfterMs: 12_000 }, /crashedAfterMs: .*degradedAfterMs/],
      [{ heartbeatIntervalMs: 0 }, /heartbeatIntervalMs: /],
      [{ heartbeatIntervalMs: 10.5 }, /heartbeatIntervalMs: /],
      [{ stalledAfterMs: -1 }, /stalledAfterMs: /],
      [{ forgetAfterMs: Number.NaN }, /forgetAfterMs: .*got NaN/],
      [{ stormShare: 2 }, /stormShare: /],
      [{ stormMinimum: 0 }, /stormMinimum: /],
      [{ autoHeartbeat: 'no' }, /autoHeartbeat: /],
      [{ heartbeatInterval: 5 }, /heartbeatInterval: expected one of the options/],
      [{ namespace: '~' }, /namespace: /],
    ] as [object, RegExp][]) {
      expect(() => new WorkerRegistry(manager, options)).toThrow(message);
    }
    expect(() => new WorkerRegistry(bad({}))).toThrow(/WorkerRegistry: manager: expected a RedisConnectionManager/);
    expect(() => registry.on(bad<'joined'>('exploded'), () => {})).toThrow(/event: expected one of joined/);
    expect(() => registry.on('joined', bad(1))).toThrow(/listener: expected a function/);
    expect(() => registry.report('w', { load: Number.NaN })).toThrow(/load: /);
    expect(await registry.count()).toMatchObject({ total: 1 });
  });

  test('registries of different namespaces have nothing to do with each other', async () => {
    const inner = new WorkerRegistry(manager, { namespace: 'inner', autoHeartbeat: false });
    await registry.register({ id: 'w' });
    expect(await inner.get('w')).toBeNull();
    await inner.register({ id: 'w' });
    expect(await registry.heartbeat('w')).toBe(true);
    expect(await inner.heartbeat('w')).toBe(true);
    expect(await registry.count()).toMatchObject({ total: 1 });
  });

  test('after disconnect() its workers are over, and its methods reject with closed', async () => {
    const beating = new WorkerRegistry(manager, FAST);
    const fenced: string[] = [];
    beating.on('fenced', ({ id }, next) => fenced.push(`${id} ${next}`));
    beating.on('joined', () => {});
    await beating.ready();
    await beating.register({ id: 'w' });
    await manager.disconnect();
    await until(() => fenced.length > 0, { what: 'the worker to be told' });
    expect(fenced).toEqual(['w null']);
    expect(await failureOf(beating.get('w'))).toMatchObject({ redisErrorKind: 'closed' });
    expect(await failureOf(beating.register({ id: 'w' }))).toMatchObject({ redisErrorKind: 'closed' });
    await beating.cleanup();
  });

  test('nothing outside its namespace is written, and the events stay bounded', async () => {
    const { position } = await registry.snapshot();
    await registry.register({ id: 'w' });
    for (let n = 0; n < 110; n += 1) {
      await Promise.all(Array.from({ length: 100 }, (_, m) => registry.setStatus('w', m % 2 === 0 ? 'busy' : 'idle')));
    }
    const first = await registry.readEvents(position, { limit: 10_000 });
    expect(first.complete).toBe(false);
    const second = await registry.readEvents(first.position, { limit: 10_000 });
    expect(second.complete).toBe(true);
    const events = [...first.events, ...second.events];
    expect(events.length).toBeGreaterThanOrEqual(10_000);
    expect(events.length).toBeLessThan(10_500);
    expect(events.at(-1) as WorkerEvent).toMatchObject({ event: 'status', worker: { status: 'idle' } });
  });
});
