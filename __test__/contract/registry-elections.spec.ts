/** Elections: one leads, the next takes over, and whoever lost it learns so. */
import { type Leadership, type RedisConnectionManager, WorkerRegistry } from 'redis-backplane';
import { beforeEach, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { startProcess } from '../support/process.ts';
import { until, within } from '../support/until.ts';

describeBackends('elections', (backend) => {
  let manager: RedisConnectionManager;
  let registry: WorkerRegistry;
  let other: WorkerRegistry;

  beforeEach(() => {
    manager = backend.manager();
    registry = new WorkerRegistry(manager);
    other = new WorkerRegistry(backend.manager());
  });

  test('one leads; who waits leads when it resigns, with a larger token', async () => {
    const first = await registry.elect('r');
    expect(first.role).toBe('r');
    expect(first.signal.aborted).toBe(false);
    const waiting = other.elect('r');
    expect(await failureOf(registry.elect('r', { waitMs: 50 }))).toMatchObject({ redisErrorKind: 'timeout' });
    await first.resign();
    const second = await within(5_000, waiting, 'the next leader');
    expect(second.token).toBeGreaterThan(first.token);
    expect(first.signal.aborted).toBe(false);
    await first.resign();
    expect(second.signal.aborted).toBe(false);
    await second.resign();
  });

  test('roles, and roles of different namespaces, have nothing to do with each other', async () => {
    const inner = new WorkerRegistry(manager, { namespace: 'inner' });
    const leads: Leadership[] = [await registry.elect('a'), await registry.elect('b'), await inner.elect('a')];
    for (const one of leads) await one.resign();
    await using hostile = await registry.elect('\r\n\0{}*💥');
    expect(hostile.role).toBe('\r\n\0{}*💥');
  });

  test('of many who want it each leads alone, one after another', async () => {
    let leading = 0;
    const tokens: number[] = [];
    await Promise.all(
      [registry, other].flatMap((from) =>
        Array.from({ length: 8 }, async () => {
          await using leadership = await from.elect('r');
          leading += 1;
          expect(leading).toBe(1);
          tokens.push(leadership.token);
          await from.count();
          leading -= 1;
        }),
      ),
    );
    expect(tokens).toHaveLength(16);
    expect(tokens.every((token, at) => at === 0 || token > (tokens[at - 1] as number))).toBe(true);
  });

  test('it is renewed for as long as it is held', async () => {
    await using leadership = await registry.elect('r', { leaseMs: 200 });
    expect(await failureOf(other.elect('r', { waitMs: 900 }))).toMatchObject({ redisErrorKind: 'timeout' });
    expect(leadership.signal.aborted).toBe(false);
  });

  test('a leader whose key is taken away learns so, and its reason says it', async () => {
    const leadership = await registry.elect('r', { leaseMs: 300 });
    const keys = await manager.command<string[]>('KEYS', '*leader*');
    expect(keys).toHaveLength(1);
    await manager.command('DEL', keys[0] as string);
    await until(() => leadership.signal.aborted, { what: 'the loss to be learnt' });
    expect(leadership.signal.reason).toMatchObject({ redisErrorKind: 'lease-lost' });
    await leadership.resign();
  });

  test('the wait is ended by its signal, and by disconnect()', async () => {
    await using _first = await registry.elect('r');
    const controller = new AbortController();
    const waiting = failureOf(other.elect('r', { signal: controller.signal }));
    await other.count();
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await waiting).toMatchObject({ redisErrorKind: 'cancelled', cause: reason });
    expect(await failureOf(other.elect('r', { signal: controller.signal }))).toMatchObject({ redisErrorKind: 'cancelled' });
    const gone = backend.manager();
    const closed = failureOf(new WorkerRegistry(gone).elect('r'));
    await gone.disconnect();
    expect(await closed).toMatchObject({ redisErrorKind: 'closed' });
  });

  test('disconnect() ends a leadership, and cleanup() resigns it', async () => {
    const own = backend.manager();
    const leading = await new WorkerRegistry(own).elect('a');
    await own.disconnect();
    await until(() => leading.signal.aborted, { what: 'the loss to be learnt' });
    expect(leading.signal.reason).toMatchObject({ redisErrorKind: 'lease-lost' });
    await registry.elect('b');
    await registry.cleanup();
    await (await within(2_000, other.elect('b'), 'the resigned role')).resign();
  });
});

describeBackends(
  'elections of several processes',
  (backend) => {
    test('when the leader is killed the next one leads within its lease', async () => {
      const leader = startProcess(
        async ({ redis, emit, args }) => {
          const registry = new redis.WorkerRegistry(new redis.RedisConnectionManager(args));
          const leadership = await registry.elect('r', { leaseMs: 500 });
          emit(leadership.token);
          setInterval(() => {}, 1_000);
        },
        { args: { url: backend.url, namespace: backend.namespace } },
      );
      const token = await leader.line<number>();
      const registry = new WorkerRegistry(backend.manager());
      const waiting = registry.elect('r', { leaseMs: 500 });
      await registry.count();
      await leader.kill9();
      const next = await within(5_000, waiting, 'the next leader');
      expect(next.token).toBeGreaterThan(token);
      await next.resign();
    });
  },
  ['redis-server'],
);
