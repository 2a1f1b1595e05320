/** A storm and a clock that is set, on every backend: deadlines are put into the past, or the future, where the registry keeps them. */
import { memoryControl, type RedisConnectionManager, WorkerRegistry } from 'redis-backplane';
import { beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { until } from '../support/until.ts';

const MANUAL = { autoHeartbeat: false };
/** With the default options. */
const LEASE_MS = 35_000;
const HOUR_MS = 3_600_000;

describeBackends('deadlines', (backend) => {
  let manager: RedisConnectionManager;
  let registry: WorkerRegistry;
  const key = (last: string): string => `${backend.namespace}:~registry:{~${backend.namespace}:}:${last}`;

  beforeEach(() => {
    manager = backend.manager();
    registry = new WorkerRegistry(manager, MANUAL);
  });

  /** Moves the scores of all members, or of some. */
  async function shift(set: string, byMs: number, ids?: string[]): Promise<void> {
    const flat = (await manager.command('ZRANGE', key(set), 0, -1)) as string[];
    for (const id of ids ?? flat) await manager.command('ZINCRBY', key(set), byMs, id);
  }

  async function registered(count: number): Promise<string[]> {
    const workers = await Promise.all(Array.from({ length: count }, (_, n) => registry.register({ id: `w${n}` })));
    return workers.map(({ id }) => id);
  }

  const crashes = async (): Promise<string[]> => (await registry.reap()).map(({ id }) => id).sort();

  test('a partition that heals kills nobody who comes back within the lease, also once the share is small again', async () => {
    const ids = await registered(20);
    const cut = ids.slice(8);
    await shift('alive', -LEASE_MS - 1_000, cut);
    expect(await crashes()).toEqual([]);
    expect(await registry.health(cut[0] as string)).toBe('unknown');
    for (const id of cut.slice(0, 7)) expect(await registry.heartbeat(id)).toBe(true);
    expect(await crashes()).toEqual([]);
    for (const id of cut.slice(7)) expect(await registry.heartbeat(id)).toBe(true);
    expect(await registry.count()).toEqual({ total: 20, healthy: 20, degraded: 0, crashed: 0 });
  });

  test('who is not heard again when the hold of a storm has ended is declared crashed', async () => {
    const ids = await registered(20);
    const cut = ids.slice(8);
    await shift('alive', -LEASE_MS - 1_000, cut);
    expect(await crashes()).toEqual([]);
    for (const id of cut.slice(0, 7)) await registry.heartbeat(id);
    await shift('late', -LEASE_MS);
    expect(await crashes()).toEqual([]);
    const now = Number(((await manager.command('TIME')) as string[])[0]) * 1_000;
    await manager.command('HSET', key('meta'), 'hold', now - 1, 'stormy', now - 1);
    expect(await crashes()).toEqual(cut.slice(7).sort());
  });

  describe('a server whose clock goes back an hour', () => {
    /** To the registry it is the same: everything it has written is of an hour from now. */
    async function goBack(): Promise<void> {
      for (const set of ['alive', 'late', 'crashed', 'claims']) await shift(set, HOUR_MS);
      await manager.command('HINCRBY', key('meta'), 'seen', HOUR_MS);
    }

    test('a worker that died is declared crashed within a lease, not an hour later', async () => {
      await registered(3);
      await registry.reap();
      await goBack();
      expect(await crashes()).toEqual([]);
      const dueIn = Number(await manager.command('ZSCORE', key('alive'), 'w0')) - Date.now();
      expect(dueIn).toBeLessThan(LEASE_MS);
      await registry.heartbeat('w1');
      await registry.heartbeat('w2');
      await shift('alive', -LEASE_MS - 1_000, ['w0']);
      expect(await crashes()).toEqual(['w0']);
    });

    test('a claim that nobody renews lapses within its own lease', async () => {
      await registered(1);
      await registry.claim({ leaseMs: 50 });
      await registry.reap();
      await goBack();
      await registry.reap();
      await until(() => registry.claim({ leaseMs: 50 }), { what: 'the slot to be free again' });
    });

    test('a role whose leader died is taken over within its lease', async () => {
      const leadership = await registry.elect('role', { leaseMs: 200 });
      const until = Number(await manager.command('HGET', key('leader:role'), 'until'));
      await manager.command('HSET', key('leader:role'), 'owner', 'somebody who died', 'until', until + HOUR_MS);
      const next = await new WorkerRegistry(backend.manager(), MANUAL).elect('role', { leaseMs: 200, waitMs: 10_000 });
      expect(next.token).toBeGreaterThan(leadership.token);
      await next.resign();
    });

    test('a grace and a hold that were given before are over within a lease', async () => {
      await registered(3);
      await registry.reap();
      const now = Date.now();
      await manager.command('HSET', key('meta'), 'grace', now + HOUR_MS, 'hold', now + HOUR_MS, 'stormy', now + HOUR_MS);
      await goBack();
      await registry.reap();
      await shift('alive', -LEASE_MS - 1_000);
      expect(await crashes()).toEqual(['w0', 'w1', 'w2']);
    });
  });
});

describe('a server whose clock is set', () => {
  const OPTIONS = { heartbeatIntervalMs: 100, degradedAfterMs: 1_000, crashedAfterMs: 3_000 };

  test.each([HOUR_MS, -HOUR_MS])('by %i ms: no living worker is declared crashed, and one that dies later is', async (step) => {
    const name = `clock-${step}`;
    await using manager = new (await import('redis-backplane')).RedisConnectionManager(`memory://${name}`);
    await using registry = new WorkerRegistry(manager, OPTIONS);
    const silent = new WorkerRegistry(manager, { ...OPTIONS, autoHeartbeat: false });
    const crashed: string[] = [];
    registry.on('crashed', ({ id }) => crashed.push(id));
    await registry.ready();
    const living = await Promise.all(['a', 'b'].map((id) => registry.register({ id })));
    await silent.register({ id: 'silent' });
    await registry.reap();
    memoryControl(name).setClock(step);
    const begin = performance.now();
    expect(await registry.reap()).toEqual([]);
    expect(await silent.reap()).toEqual([]);
    await until(() => crashed.length > 0, { timeoutMs: 30_000, what: 'the silent one to be declared crashed' });
    // It has a full lease from when the step was noticed.
    expect(performance.now() - begin).toBeGreaterThan(OPTIONS.crashedAfterMs - OPTIONS.heartbeatIntervalMs);
    expect(crashed).toEqual(['silent']);
    for (const { id, epoch } of living) expect(await registry.get(id)).toMatchObject({ epoch, health: 'healthy' });
  });
});

describeBackends('whatever falls due at once', (backend) => {
  test('one call does a bounded part of it, and holds nobody up', async () => {
    const manager = backend.manager();
    const registry = new WorkerRegistry(manager, { ...MANUAL, stormShare: 1 });
    const count = 600;
    await Promise.all(Array.from({ length: count }, (_, n) => registry.register({ id: `w${n}`, capabilities: ['a', 'b'] })));
    await Promise.all(Array.from({ length: count }, () => registry.claim({ leaseMs: HOUR_MS })));
    const key = (last: string): string => `${backend.namespace}:~registry:{~${backend.namespace}:}:${last}`;
    /** Puts every deadline into the past. */
    const shiftAll = (set: string): Promise<unknown> => manager.command('ZUNIONSTORE', key(set), 1, key(set), 'WEIGHTS', '0');
    const size = async (set: string): Promise<number> => Number(await manager.command('ZCARD', key(set)));
    for (const [set, calls] of [
      ['claims', ['get']],
      ['alive', ['get', 'register', 'setStatus']],
      ['crashed', ['get', 'register', 'count']],
    ] as const) {
      await shiftAll(set);
      for (const call of calls) {
        const before = await size(set);
        if (call === 'get') await registry.get('w1');
        else if (call === 'count') await registry.count();
        else if (call === 'register') await registry.register({ id: 'another', capacity: 0 });
        else await registry.setStatus('another', 'busy');
        const done = before - (await size(set));
        expect([set, call, done > 0 && done <= 51]).toEqual([set, call, true]);
      }
      await registry.reap();
      // `another` is new.
      expect(await size(set)).toBeLessThanOrEqual(1);
    }
    expect(await registry.count()).toMatchObject({ total: 1, crashed: 0 });
  });
});
