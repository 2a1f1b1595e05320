/**
 * Health, against a model and a moved clock: every state is reached when it should be and not before. The server's clock is hours away from
 * this process' after the first steps; nothing depends on the difference.
 */
import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { memoryControl, RedisConnectionManager, type WorkerInfo, WorkerRegistry } from 'redis-backplane';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkLeaks } from '../support/leaks.ts';
import { until } from '../support/until.ts';

const SECOND = 1_000;
/** Far from multiples of the steps by which the clock is moved, so that the time a test itself takes changes nothing. */
const OPTIONS = {
  autoHeartbeat: false,
  heartbeatIntervalMs: 100 * SECOND,
  degradedAfterMs: 255 * SECOND,
  crashedAfterMs: 605 * SECOND,
  forgetAfterMs: 2_005 * SECOND,
};
const LEASE = OPTIONS.crashedAfterMs + OPTIONS.heartbeatIntervalMs;

let engine: string;
let manager: RedisConnectionManager;
let registry: WorkerRegistry;

checkLeaks();
beforeEach(async () => {
  engine = `health-${randomUUID()}`;
  manager = new RedisConnectionManager({ url: `memory://${engine}`, namespace: 'n' });
  await manager.connect();
  registry = new WorkerRegistry(manager, OPTIONS);
});
afterEach(() => manager.disconnect());

const advance = (ms: number): void => memoryControl(engine).advance(ms);

describe('while nobody may judge, after a failover', () => {
  const PARTS = ['healthy', 'degraded', 'crashed', 'unknown'] as const;
  /** How many `get`, `list` and `count` say there are of each; they must agree. */
  async function counted(ids: string[]): Promise<Record<(typeof PARTS)[number], number>> {
    const healths = await Promise.all(ids.map((id) => registry.health(id)));
    const got = Object.fromEntries(PARTS.map((part) => [part, healths.filter((health) => health === part).length]));
    const listed = await Promise.all(PARTS.map(async (part) => [part, (await registry.list({ health: part })).length]));
    expect(Object.fromEntries(listed)).toEqual(got);
    const { unknown, ...known } = got;
    expect(await registry.count()).toEqual({ ...known, total: ids.length });
    return got as Record<(typeof PARTS)[number], number>;
  }

  test.each([3, 1_200])('get, list and count agree about %i workers', async (count) => {
    const ids = Array.from({ length: count }, (_, n) => `w${n}`);
    await Promise.all(ids.map((id) => registry.register({ id })));
    await registry.heartbeat('w0', { degraded: true });
    expect(await counted(ids)).toEqual({ healthy: count - 1, degraded: 1, crashed: 0, unknown: 0 });
    const meta = memoryControl(engine)
      .dump()
      .find(({ key }) => key.endsWith(':meta'));
    expect(await manager.command('HSET', meta?.key ?? '', 'run', 'another')).toBe(0);
    advance(OPTIONS.degradedAfterMs + 5 * SECOND);
    await registry.heartbeat('w1');
    expect(await counted(ids)).toEqual({ healthy: 1, degraded: count - 1, crashed: 0, unknown: 0 });
    advance(OPTIONS.crashedAfterMs - OPTIONS.degradedAfterMs + OPTIONS.heartbeatIntervalMs - 20 * SECOND);
    expect(await counted(ids)).toEqual({ healthy: 0, degraded: count, crashed: 0, unknown: 0 });
    advance(25 * SECOND);
    expect(await counted(ids)).toEqual({ healthy: 0, degraded: 1, crashed: 0, unknown: count - 1 });
  });
});

describe('one step before and one after', () => {
  test.each([
    ['late', OPTIONS.degradedAfterMs, 'healthy', 'degraded'],
    ['crashed', LEASE, 'degraded', 'crashed'],
    ['forgotten', LEASE + OPTIONS.forgetAfterMs, 'crashed', 'unknown'],
  ])('a worker is %s', async (_, after, before, then) => {
    const { registeredAt } = await registry.register({ id: 'w' });
    if (then === 'unknown') {
      // Forgetting counts from the declaration, which somebody makes by looking.
      advance(LEASE);
      expect(await registry.health('w')).toBe('crashed');
      advance(after - LEASE - 5 * SECOND);
    } else {
      advance(after - 5 * SECOND);
    }
    expect(await registry.health('w')).toBe(before);
    advance(6 * SECOND);
    expect(await registry.health('w')).toBe(then);
    expect(Math.abs(registeredAt - Date.now())).toBeLessThan(60 * SECOND);
  });

  test('a claim lapses', async () => {
    await registry.register({ id: 'w' });
    const claim = await registry.claim({ leaseMs: 60 * SECOND });
    advance(55 * SECOND);
    expect(await registry.claim()).toBeNull();
    expect(await claim?.renew(60 * SECOND)).toBe(true);
    advance(55 * SECOND);
    expect(await registry.claim()).toBeNull();
    advance(6 * SECOND);
    expect(await registry.claim()).not.toBeNull();
  });

  test('a worker that is late is not claimed, and is once it beats', async () => {
    await registry.register({ id: 'w' });
    advance(OPTIONS.degradedAfterMs + SECOND);
    expect(await registry.claim()).toBeNull();
    expect(await registry.heartbeat('w')).toBe(true);
    expect(await registry.claim()).toMatchObject({ workerId: 'w' });
  });
});

test('a worker whose data are lost, and the answers to its new registration too, is registered again once', async () => {
  const observer = new RedisConnectionManager({ url: `memory://${engine}`, namespace: 'n' });
  const beating = new WorkerRegistry(manager, { heartbeatIntervalMs: 50, degradedAfterMs: 10_000, crashedAfterMs: 20_000 });
  const fenced: (number | undefined)[] = [];
  beating.on('fenced', (_, next) => fenced.push(next?.epoch));
  const { epoch } = await beating.register({ id: 'w', metadata: { kept: true } });
  memoryControl(engine).flush();
  memoryControl(engine).dropReplies(4);
  await until(() => fenced.length > 0, { timeoutMs: 15_000, what: 'the new registration' });
  const watching = new WorkerRegistry(observer, OPTIONS);
  const worker = await watching.get('w');
  expect(worker).toMatchObject({ health: 'healthy', metadata: { kept: true } });
  expect(worker?.epoch).toBeGreaterThan(epoch);
  expect(fenced).toEqual([worker?.epoch]);
  expect((await watching.readEvents('0-0')).events.map(({ event }) => event)).toEqual(['joined']);
  await beating.cleanup();
  await observer.disconnect();
});

describe('a storm: much of the fleet falls due at once', () => {
  const names = Array.from({ length: 20 }, (_, n) => `w${n}`);
  const silent = names.slice(0, 8);
  let beating: string[];
  let crashed: string[];

  beforeEach(async () => {
    crashed = [];
    beating = names.slice(8);
    await Promise.all(names.map((id) => registry.register({ id })));
  });

  /** Time passes; those that live beat, and somebody looks. */
  async function pass(seconds: number): Promise<void> {
    for (let left = seconds; left > 0; left -= 50) {
      advance(Math.min(left, 50) * SECOND);
      await Promise.all(beating.map((id) => registry.heartbeat(id)));
      crashed.push(...(await registry.reap()).map(({ id }) => id));
    }
  }

  test('their health is unknown, nobody is declared crashed for a full lease, then a few at a time', async () => {
    await pass(700);
    expect(await registry.health('w0')).toBe('degraded');
    await pass(50);
    expect(crashed).toEqual([]);
    for (const id of silent) expect(await registry.health(id)).toBe('unknown');
    for (const id of beating) expect(await registry.health(id)).toBe('healthy');
    expect(await registry.list({ health: 'unknown' })).toHaveLength(8);
    expect(await registry.count()).toEqual({ total: 20, healthy: 12, degraded: 0, crashed: 0 });
    await pass(650);
    expect(crashed).toEqual([]);
    await pass(100);
    expect(crashed).toHaveLength(5);
    await pass(100);
    expect(crashed.sort()).toEqual(silent);
    expect(await registry.count()).toEqual({ total: 20, healthy: 12, degraded: 0, crashed: 8 });
  });

  test('those whose heartbeats resume were never crashed', async () => {
    const { position } = await registry.snapshot();
    const epochs = (await registry.list()).map(({ epoch }) => epoch).sort();
    await pass(1_000);
    expect(await registry.health('w0')).toBe('unknown');
    for (const id of silent) expect(await registry.heartbeat(id)).toBe(true);
    await pass(0);
    expect(await registry.count()).toEqual({ total: 20, healthy: 20, degraded: 0, crashed: 0 });
    expect((await registry.list()).map(({ epoch }) => epoch).sort()).toEqual(epochs);
    const { events } = await registry.readEvents(position);
    expect(new Set(events.map(({ event }) => event))).toEqual(new Set(['degraded', 'recovered']));
    expect(crashed).toEqual([]);
  });

  test('a few that die at once are no storm, however small the fleet', async () => {
    await Promise.all(names.slice(0, 14).map((id) => registry.unregister(id)));
    advance(LEASE + SECOND);
    for (const id of ['w18', 'w19']) expect(await registry.heartbeat(id)).toBe(true);
    expect((await registry.reap()).map(({ id }) => id).sort()).toEqual(['w14', 'w15', 'w16', 'w17']);
  });

  test('both limits are options', async () => {
    advance(OPTIONS.degradedAfterMs + SECOND);
    await Promise.all(beating.map((id) => registry.heartbeat(id)));
    advance(LEASE - OPTIONS.degradedAfterMs);
    await Promise.all(beating.map((id) => registry.heartbeat(id)));
    expect(await new WorkerRegistry(manager, { ...OPTIONS, stormShare: 0.4 }).reap()).toHaveLength(8);
    await Promise.all(silent.map((id) => registry.register({ id })));
    advance(OPTIONS.degradedAfterMs + SECOND);
    await Promise.all(beating.map((id) => registry.heartbeat(id)));
    advance(LEASE - OPTIONS.degradedAfterMs);
    await Promise.all(beating.map((id) => registry.heartbeat(id)));
    expect(await new WorkerRegistry(manager, { ...OPTIONS, stormMinimum: 17 }).reap()).toHaveLength(8);
  });

  test('whoever fell due in it has a full lease from then on, also when the others came back and it is over', async () => {
    await pass(300);
    expect(await registry.heartbeat('w0')).toBe(true);
    await pass(450);
    // Seven are due at 705 s, w0 at 1 005 s; at 750 s the storm was noticed.
    for (const id of silent.slice(1)) expect(await registry.heartbeat(id)).toBe(true);
    beating.push(...silent.slice(1));
    await pass(900);
    expect(await registry.health('w0')).toBe('unknown');
    expect(crashed).toEqual([]);
    await pass(100);
    expect(crashed).toEqual(['w0']);
  });
});

type Step =
  | { do: 'advance'; tens: number }
  | { do: 'beat' | 'register' | 'unregister' | 'reap'; worker: number }
  | { do: 'report'; worker: number; degraded: boolean };

interface Modelled {
  last: number;
  reported: boolean;
  crashedAt: number | undefined;
  /** Noticed as late. */
  late: boolean;
}

const workerStep = fc.record({ do: fc.constantFrom('beat', 'register', 'unregister', 'reap'), worker: fc.nat(2) });
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('advance'), tens: fc.integer({ min: 1, max: 90 }) }) },
  { weight: 4, arbitrary: workerStep },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('report'), worker: fc.nat(2), degraded: fc.boolean() }) },
) as fc.Arbitrary<Step>;

/** What a worker should be, `now` seconds after the begin. */
function expected(worker: Modelled | undefined, now: number): [string, string | undefined] {
  if (worker === undefined) return ['unknown', undefined];
  if (worker.crashedAt !== undefined) return ['crashed', undefined];
  if ((now - worker.last) * SECOND > OPTIONS.degradedAfterMs) return ['degraded', 'late'];
  return worker.reported ? ['degraded', 'reported'] : ['healthy', undefined];
}

test('whatever happens, in whatever order, each worker is what the model says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const own = new WorkerRegistry(manager, { ...OPTIONS, namespace: randomUUID() });
      const { position } = await own.snapshot();
      const model = new Map<string, Modelled>();
      const events: string[] = [];
      let unreaped: string[] = [];
      let now = 0;

      /** What is noticed when somebody looks. */
      const pass = (): void => {
        const living = [...model].filter(([, worker]) => worker.crashedAt === undefined);
        for (const [id, worker] of [...model]) {
          if (worker.crashedAt !== undefined && (now - worker.crashedAt) * SECOND > OPTIONS.forgetAfterMs) model.delete(id);
        }
        for (const [id, worker] of living) {
          if (worker.late || (now - worker.last) * SECOND <= OPTIONS.degradedAfterMs) continue;
          worker.late = true;
          events.push(`degraded ${id}`);
        }
        for (const [id, worker] of living) {
          if ((now - worker.last) * SECOND <= LEASE) continue;
          worker.crashedAt = now;
          unreaped.push(id);
          events.push(`crashed ${id}`);
        }
      };

      for (const one of steps) {
        if (one.do === 'advance') {
          advance(one.tens * 10 * SECOND);
          now += one.tens * 10;
          // Somebody looks: what is due is done by then.
          await own.count();
          pass();
          continue;
        }
        const id = `w${one.worker}`;
        const known = model.get(id);
        const lives = known !== undefined && known.crashedAt === undefined;
        switch (one.do) {
          case 'register': {
            await own.register({ id });
            if (lives) events.push(`left ${id}`);
            events.push(`joined ${id}`);
            model.set(id, { last: now, reported: false, crashedAt: undefined, late: false });
            break;
          }
          case 'beat':
          case 'report': {
            const degraded = one.do === 'report' ? one.degraded : undefined;
            expect(await own.heartbeat(id, { degraded })).toBe(lives);
            if (!lives) break;
            const [, was] = expected(known, now);
            known.last = now;
            known.reported = degraded ?? known.reported;
            known.late = false;
            const [, is] = expected(known, now);
            if (was !== is) events.push(`${is === undefined ? 'recovered' : 'degraded'} ${id}`);
            break;
          }
          case 'unregister':
            expect(await own.unregister(id)).toBe(lives);
            if (lives) events.push(`left ${id}`);
            model.delete(id);
            break;
          case 'reap':
            expect((await own.reap()).map((worker) => worker.id).sort()).toEqual(unreaped.sort());
            unreaped = [];
            break;
        }
        for (const name of ['w0', 'w1', 'w2']) {
          const [health, because] = expected(model.get(name), now);
          const worker: WorkerInfo | null = await own.get(name);
          expect([worker?.health ?? 'unknown', worker?.degradedBecause]).toEqual([health, because]);
        }
        const all = [...model.values()].map((worker) => expected(worker, now)[0]);
        const count = (health: string): number => all.filter((one) => one === health).length;
        expect(await own.count()).toEqual({
          total: all.length,
          healthy: count('healthy'),
          degraded: count('degraded'),
          crashed: count('crashed'),
        });
        for (const health of ['healthy', 'degraded', 'crashed'] as const) expect(await own.list({ health })).toHaveLength(count(health));
      }
      const told = await own.readEvents(position);
      // In order for each worker; which of two is first that fell due in the same step is the matter of milliseconds.
      for (const id of ['w0', 'w1', 'w2']) {
        const own = told.events.filter(({ worker }) => worker.id === id).map(({ event }) => `${event} ${id}`);
        expect(own).toEqual(events.filter((event) => event.endsWith(id)));
      }
    }),
    { numRuns: 60 },
  );
}, 60_000);
