/** Claims: slots of workers, never more than there are, given back by whoever and however it ends. */
import { type RedisConnectionManager, WorkerRegistry } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { startProcess } from '../support/process.ts';
import { until } from '../support/until.ts';

describeBackends('claims', (backend) => {
  let manager: RedisConnectionManager;
  let registry: WorkerRegistry;

  beforeEach(() => {
    manager = backend.manager();
    registry = new WorkerRegistry(manager, { autoHeartbeat: false });
  });

  const claimed = async (request = {}): Promise<string | undefined> => (await registry.claim(request))?.workerId;

  test('a slot is one of the least loaded worker, until there is none', async () => {
    await registry.register({ id: 'a', capacity: 2 });
    await registry.register({ id: 'b', capacity: 4 });
    await registry.heartbeat('a', { load: 0.1 });
    const order: (string | undefined)[] = [];
    for (let n = 0; n < 7; n += 1) order.push(await claimed());
    // By claimed slots through capacity, plus load: b 0, a 0.1, b 0.25, b 0.5, a 0.6, b 0.75.
    expect(order).toEqual(['b', 'a', 'b', 'b', 'a', 'b', undefined]);
    expect(await registry.get('a')).toMatchObject({ claimed: 2 });
    expect(await registry.get('b')).toMatchObject({ claimed: 4 });
  });

  test('among equals it is the one claimed longest ago', async () => {
    for (const id of ['a', 'b', 'c']) await registry.register({ id });
    const order: string[] = [];
    for (let n = 0; n < 9; n += 1) {
      const claim = await registry.claim();
      order.push(claim?.workerId ?? 'nobody');
      await claim?.release();
    }
    expect(order.slice(0, 3).sort()).toEqual(['a', 'b', 'c']);
    expect(order.slice(3)).toEqual([...order.slice(0, 3), ...order.slice(0, 3)]);
  });

  test('only idle and busy healthy workers with every capability are claimed', async () => {
    const wants = { capabilities: ['x', 'y'], type: 't' };
    expect(await claimed(wants)).toBeUndefined();
    await registry.register({ id: 'other type', type: 'u', capabilities: ['x', 'y'] });
    await registry.register({ id: 'less', type: 't', capabilities: ['x'] });
    await registry.register({ id: 'no slots', type: 't', capabilities: ['x', 'y'], capacity: 0 });
    expect(await claimed(wants)).toBeUndefined();
    await registry.register({ id: 'w', type: 't', capabilities: ['z', 'y', 'x'], capacity: 100 });
    expect(await claimed(wants)).toBe('w');
    for (const status of ['paused', 'draining'] as const) {
      await registry.setStatus('w', status);
      expect(await claimed(wants)).toBeUndefined();
    }
    await registry.setStatus('w', 'busy');
    expect(await claimed(wants)).toBe('w');
    await registry.heartbeat('w', { degraded: true });
    expect(await claimed(wants)).toBeUndefined();
    await registry.heartbeat('w', { degraded: false });
    expect(await claimed(wants)).toBe('w');
  });

  test.each([
    ['few classes', () => []],
    ['a class of its own each', (id: string) => [`only ${id}`]],
  ])('one who has all of it is found, wherever it stands among many: %s', async (_, more) => {
    const many = (prefix: string): Promise<unknown> =>
      Promise.all(
        Array.from({ length: 700 }, (_, n) =>
          registry.register({ id: `${prefix}${n}`, capabilities: [prefix, ...more(`${prefix}${n}`)], capacity: 2 }),
        ),
      );
    await many('a');
    await many('b');
    const wants = { capabilities: ['a', 'b'] };
    expect(await claimed(wants)).toBeUndefined();
    await registry.register({ id: 'both', capabilities: ['a', 'b', ...more('both')], capacity: 2 });
    await registry.register({ id: 'loaded', capabilities: ['b', 'a', ...more('loaded')], capacity: 1 });
    await registry.heartbeat('both', { load: 5 });
    await registry.heartbeat('loaded', { load: 9 });
    expect(await claimed(wants)).toBe('both');
    expect(await claimed({ capabilities: ['b', 'a'] })).toBe('both');
    expect(await claimed(wants)).toBe('loaded');
    expect(await claimed(wants)).toBeUndefined();
    await registry.unregister('both');
    await registry.unregister('loaded');
    expect(await claimed(wants)).toBeUndefined();
    await registry.register({ id: 'third', type: 't', capabilities: ['x', 'b', 'y', 'a'] });
    expect(await claimed({ type: 't', ...wants })).toBe('third');
  });

  test('a claim that is released, and one that lapses, is a free slot again', async () => {
    await registry.register({ id: 'w' });
    const first = await registry.claim({ leaseMs: 60_000 });
    expect(first).toMatchObject({ workerId: 'w', worker: { id: 'w', claimed: 1 } });
    expect(await registry.claim()).toBeNull();
    expect(await first?.release()).toBe(true);
    expect(await first?.release()).toBe(false);
    expect(await first?.renew()).toBe(false);
    const second = await registry.claim({ leaseMs: 100 });
    expect(second?.token).toBeGreaterThan(first?.token as number);
    const third = await until(() => registry.claim({ leaseMs: 60_000 }), { what: 'the claim to lapse' });
    expect(third.token).toBeGreaterThan(second?.token as number);
    expect(await second?.renew()).toBe(false);
    expect(await second?.release()).toBe(false);
    expect(await registry.get('w')).toMatchObject({ claimed: 1 });
  });

  test('a claim that is renewed does not lapse, and await using gives it back', async () => {
    await registry.register({ id: 'w' });
    {
      await using claim = await registry.claim({ leaseMs: 400 });
      const ends = performance.now() + 1_000;
      await until(
        async () => {
          expect(await claim?.renew()).toBe(true);
          expect(await registry.claim()).toBeNull();
          return performance.now() > ends;
        },
        { what: 'more than two leases to pass' },
      );
    }
    expect(await claimed()).toBe('w');
  });

  test('a claim is void with its worker, whatever ends that', async () => {
    await registry.register({ id: 'w' });
    const first = await registry.claim();
    await registry.register({ id: 'w' });
    expect(await first?.renew()).toBe(false);
    const second = await registry.claim();
    expect(second?.workerId).toBe('w');
    expect(await first?.release()).toBe(false);
    expect(await registry.get('w')).toMatchObject({ claimed: 1 });
    await registry.unregister('w');
    expect(await second?.renew()).toBe(false);
    const silent = new WorkerRegistry(manager, {
      autoHeartbeat: false,
      heartbeatIntervalMs: 50,
      degradedAfterMs: 200,
      crashedAfterMs: 300,
    });
    await silent.register({ id: 'silent' });
    const third = await registry.claim();
    expect(third?.workerId).toBe('silent');
    await until(async () => (await registry.health('silent')) === 'crashed', { what: 'the worker to be declared crashed' });
    expect(await third?.renew()).toBe(false);
    expect(await third?.release()).toBe(false);
    expect(await registry.get('silent')).toMatchObject({ claimed: 0 });
  });

  test('50 callers of one process never exceed a capacity, and spread evenly', async () => {
    const capacities = [1, 2, 3, 4, 10];
    await Promise.all(capacities.map((capacity, n) => registry.register({ id: `w${n}`, capacity })));
    const claims = await Promise.all(Array.from({ length: 50 }, () => registry.claim()));
    const held = claims.filter((claim) => claim !== null);
    expect(held).toHaveLength(20);
    expect(capacities.map((_, n) => held.filter(({ workerId }) => workerId === `w${n}`).length)).toEqual(capacities);
    expect(new Set(held.map(({ token }) => token)).size).toBe(20);
    await Promise.all(held.map((claim) => claim.release()));
    expect((await registry.list()).map((worker) => worker.claimed)).toEqual([0, 0, 0, 0, 0]);
  });
});

describeBackends(
  'claims of several processes',
  (backend) => {
    test('50 callers in 3 processes never exceed a capacity, and spread evenly', async () => {
      const registry = new WorkerRegistry(backend.manager(), { autoHeartbeat: false });
      await Promise.all(Array.from({ length: 10 }, (_, n) => registry.register({ id: `w${n}`, capacity: 4 })));
      const children = [17, 17, 16].map((callers) =>
        startProcess(
          async ({ redis, emit, args }) => {
            const manager = new redis.RedisConnectionManager({ url: args.url, namespace: args.namespace });
            const registry = new redis.WorkerRegistry(manager);
            await manager.connect();
            // A signal's listener does not keep a process alive.
            const alive = setInterval(() => {}, 1_000);
            const begin = new Promise((resolve) => process.once('SIGUSR2', resolve));
            emit('ready');
            await begin;
            clearInterval(alive);
            const counts: Record<string, number> = {};
            let refused = 0;
            await Promise.all(
              Array.from({ length: args.callers }, async () => {
                for (let round = 0; round < 40; round += 1) {
                  const claim = await registry.claim();
                  if (claim === null) {
                    refused += 1;
                    continue;
                  }
                  counts[claim.workerId] = (counts[claim.workerId] ?? 0) + 1;
                  if (claim.worker.claimed > claim.worker.capacity) emit({ exceeded: claim.worker });
                  await registry.count();
                  if (!(await claim.release())) emit({ lost: claim.workerId });
                }
              }),
            );
            emit({ counts, refused });
            await manager.disconnect();
          },
          { args: { url: backend.url, namespace: backend.namespace, callers } },
        ),
      );
      await Promise.all(children.map((child) => child.line((line) => line === 'ready')));
      for (const child of children) process.kill(child.pid, 'SIGUSR2');
      const ended = await Promise.all(children.map((child) => child.ended));
      expect(ended.map(({ code, stderr }) => [code, stderr])).toEqual([0, 0, 0].map((code) => [code, '']));
      const lines = ended.flatMap(({ lines }) => lines.filter((line) => line !== 'ready') as { counts?: Record<string, number> }[]);
      expect(lines.filter((line) => 'exceeded' in line || 'lost' in line)).toEqual([]);
      const totals = Array.from({ length: 10 }, (_, n) => lines.reduce((sum, { counts }) => sum + (counts?.[`w${n}`] ?? 0), 0));
      const sum = totals.reduce((a, b) => a + b);
      expect(sum).toBeGreaterThan(500);
      for (const total of totals) expect(total / (sum / 10)).toBeGreaterThan(0.8);
      for (const total of totals) expect(total / (sum / 10)).toBeLessThan(1.2);
      expect((await registry.list()).map((worker) => worker.claimed)).toEqual(new Array(10).fill(0));
    });
  },
  ['redis-server'],
);
