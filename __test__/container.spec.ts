/** The container: everything on one manager, asked and ended in order. */
import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import {
  createContainer,
  createTestRedisConfig,
  type RedisConfig,
  RedisConnectionManager,
  RedisError,
  TaskQueue,
  WorkerRegistry,
} from 'redis-backplane';
import { afterEach, describe, expect, test } from 'vitest';
import { failureOf } from './support/failure.ts';
import { type ChildContext, type Ended, runProcess, startProcess } from './support/process.ts';
import { gate } from './support/queues.ts';
import { useRig } from './support/rig.ts';
import { stretched } from './support/starvation.ts';
import { until } from './support/until.ts';

const rig = useRig();
const memory = (): RedisConfig => createTestRedisConfig({ url: 'memory://container' });

/** Runs a program as process 1 of a namespace of its own. */
const AS_FIRST = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--kill-child'];
/** How a process may be started, and what ends it. Not every system, nor every kernel's configuration, has namespaces. */
const PLACES: { place: string; through: string[]; code: Ended['code'] }[] = [{ place: 'a process', through: [], code: 'SIGTERM' }];
if (spawnSync('unshare', [...AS_FIRST.slice(1), 'true']).status === 0) {
  PLACES.push({ place: 'process 1, which the kernel spares,', through: AS_FIRST, code: 143 });
}

const environment = { ...process.env };
afterEach(() => {
  process.env = { ...environment };
});

describe('createContainer', () => {
  test('connects, and gives the same parts each time', async () => {
    await using container = await createContainer({ redis: memory() });
    expect(container.manager.isConnected()).toBe(true);
    expect(container.getKV()).toBe(container.getKV());
    expect(container.getRegistry()).toBe(container.getRegistry());
    expect(container.getBus()).toBe(container.getBus());
    expect(container.getQueue('q')).toBe(container.getQueue('q'));
    expect(container.getQueue('q')).not.toBe(container.getQueue('p'));
    await container.getKV().set('key', 1);
    await container.getRegistry().register({ id: 'w' });
    expect(await container.getKV().get('key')).toBe(1);
    const told = new Promise((resolve) => container.getBus().subscribe('topic', (message) => resolve(message.payload)));
    await container.getBus().ready();
    await container.getBus().publish('topic', 2);
    expect(await told).toBe(2);
    container.getQueue<number, number>('q').process((job) => job.data + 1);
    const job = await container.getQueue<number, number>('q').add('add', 3);
    expect(await job.waitUntilFinished()).toBe(4);
    expect(await container.health()).toEqual({
      ok: true,
      redis: true,
      bus: true,
      kv: true,
      registry: true,
      checkpoints: true,
      'queue:q': true,
      'queue:p': true,
    });
  });

  test('gives its parts their options', async () => {
    await using container = await createContainer({
      redis: memory(),
      registry: { autoHeartbeat: false, namespace: 'inner' },
      bus: { namespace: 'b' },
      queue: { namespace: 'q' },
    });
    await container.getRegistry().register({ id: 'w' });
    expect(await new WorkerRegistry(container.manager, { namespace: 'inner' }).health('w')).toBe('healthy');
    const failed = createContainer({ redis: memory(), registry: { heartbeatIntervalMs: 0 } });
    expect((await failureOf(failed)).message).toMatch(/heartbeatIntervalMs/);
  });

  test('takes its server from url, redis or the environment, and its namespace from namespace', async () => {
    const server = await rig.server();
    process.env.REDIS_URL = server.url;
    const servers = [{ url: server.url }, { url: new URL(server.url) }, { redisUrl: server.url }, { redis: { url: server.url } }, {}];
    for (const [at, options] of servers.entries()) {
      await using container = await createContainer({ ...options, namespace: 'ns' });
      await container.getKV().set(`key:${at}`, 1);
      await using other = await createContainer({ ...options, redisNamespace: 'ns' });
      expect(await other.getKV().get(`key:${at}`)).toBe(1);
    }
    expect(await server.cli('DBSIZE')).toBe(servers.length);
  });

  test('takes a URL alone', async () => {
    const server = await rig.server();
    delete process.env.REDIS_URL;
    for (const url of [server.url, new URL(server.url)]) {
      await using container = await createContainer(url);
      expect((await container.health()).ok).toBe(true);
    }
    expect(await failureOf(createContainer('htp://x'))).toMatchObject({ redisErrorKind: 'config' });
  });

  test('rejects with what is wrong, and leaves nothing behind', async () => {
    const server = await rig.server();
    process.env.REDIS_ENABLED = 'false';
    expect(await failureOf(createContainer())).toMatchObject({ redisErrorKind: 'disabled' });
    delete process.env.REDIS_ENABLED;
    delete process.env.REDIS_URL;
    expect(await failureOf(createContainer())).toMatchObject({ redisErrorKind: 'disabled' });
    const bad = <T>(value: unknown): T => value as T;
    for (const [options, message] of [
      [{ urll: server.url }, /createContainer\.urll: expected one of the options .*got an unknown option: did you mean url\?$/],
      [{ url: server.url, redisUrl: server.url }, /createContainer\.redisUrl: expected url or redisUrl, got both/],
      [
        { url: server.url, namespace: 'a', redisNamespace: 'b' },
        /createContainer\.redisNamespace: expected namespace or redisNamespace, got both/,
      ],
      [{ redisUrl: server.url, shutdownTimeoutMs: -1 }, /shutdownTimeoutMs: /],
      [
        { redisUrl: server.url, coordinators: { unknown: true } },
        /coordinators\.unknown: expected a function, false, or true for one of sweeper/,
      ],
      [{ redisUrl: server.url, coordinators: { one: 7 } }, /coordinators\.one: /],
      [{ redisUrl: server.url, coordinators: { one: async () => 7 } }, /coordinators\.one: expected to give a function that ends it/],
      [{ redis: { prot: 1 } }, /RedisConfig\.prot: /],
      [{ redis: null }, /createContainer: redis: expected an object/],
      [{ redis: [], redisUrl: server.url }, /createContainer: redis: expected an object/],
      [{ redis: server.url }, /createContainer: redis: expected an object/],
    ] as [object, RegExp][]) {
      const error = await failureOf(createContainer(bad(options)));
      expect(error.message).toMatch(message);
      expect(error.redisErrorKind).toBe('config');
    }
    await server.kill9();
    expect(await failureOf(createContainer({ redisUrl: server.url }))).toMatchObject({ redisErrorKind: 'connection' });
  });

  test('a coordinator that fails to start ends those before it, and is what the caller sees', async () => {
    const told: string[] = [];
    const failed = new Error('no');
    const creating = createContainer({
      redis: memory(),
      coordinators: {
        first: async () => {
          told.push('first');
          return async () => void told.push('first ended');
        },
        second: async () => {
          throw failed;
        },
        third: async () => {
          told.push('third');
          return async () => {};
        },
      },
    });
    await expect(creating).rejects.toBe(failed);
    expect(told).toEqual(['first', 'first ended']);
  });
});

describe('health', () => {
  test('says no within the deadline of a command, and never rejects', async () => {
    const server = await rig.server();
    const container = await createContainer({ redis: { url: server.url, commandTimeoutMs: 300 } });
    expect((await container.health()).ok).toBe(true);
    await server.freeze();
    expect(await container.health()).toMatchObject({ ok: false, redis: false, bus: false, kv: false, registry: false });
    server.thaw();
    await until(async () => (await container.health()).ok, { what: 'everything to be well again' });
    await container.shutdown();
    expect(await container.health()).toMatchObject({ ok: false, redis: false, bus: false, kv: false, registry: false });
  });
});

describe('shutdown', () => {
  test('ends coordinators first and last started first, then the workers, then the connections; once', async () => {
    const told: string[] = [];
    const coordinator = (name: string) => async (): Promise<() => Promise<void>> => {
      told.push(name);
      return async () => void told.push(`${name} ended`);
    };
    const container = await createContainer({
      redis: memory(),
      coordinators: { a: coordinator('a'), left: false, b: coordinator('b'), sweeper: true },
    });
    await container.getRegistry().register({ id: 'w' });
    const first = container.shutdown();
    expect(container.shutdown()).toBe(first);
    await first;
    expect(told).toEqual(['a', 'b', 'b ended', 'a ended']);
    expect(container.manager.state).toBe('closed');
    expect((await failureOf(container.getKV().get('key'))).redisErrorKind).toBe('closed');
  });

  test('unregisters the workers of this process', async () => {
    const config = memory();
    const registry = new WorkerRegistry(rig.manager(config));
    const container = await createContainer({ redis: config });
    await container.getRegistry().register({ id: 'w' });
    expect(await registry.health('w')).toBe('healthy');
    await container.shutdown();
    expect(await registry.get('w')).toBeNull();
  });

  test('lets jobs in hand of every queue end in its time, and hands back at once what is left', async () => {
    const server = await rig.server();
    const container = await createContainer({ redisUrl: server.url, shutdownTimeoutMs: stretched(2_000) });
    const aborted: unknown[] = [];
    const processing = { leaseMs: 600_000 };
    for (const name of ['stuck', 'stuck as well']) {
      container.getQueue(name).process((_, { signal }) => {
        signal.addEventListener('abort', () => aborted.push(signal.reason));
        return new Promise(() => {});
      }, processing);
    }
    const { opened, open } = gate();
    container.getQueue('slow').process(() => opened, processing);
    const queues = ['stuck', 'stuck as well', 'slow'].map((name) => new TaskQueue(name, rig.manager(server.url)));
    for (const queue of queues) {
      await queue.add('job', null, { attempts: 1 });
      await until(async () => (await queue.counts()).active === 1, { what: 'the job to be in hand' });
    }
    const begin = performance.now();
    const shutdown = container.shutdown();
    // None of the others is waited for before.
    open();
    await until(async () => (await queues[2]?.counts())?.completed === 1, { what: 'the slow job to be completed' });
    await shutdown;
    expect(performance.now() - begin).toBeLessThan(stretched(2_000 + 5_000));
    expect(aborted).toEqual([1, 2].map(() => expect.objectContaining({ redisErrorKind: 'closed' })));
    for (const queue of queues.slice(0, 2)) {
      expect(await queue.counts()).toMatchObject({ waiting: 1, active: 0 });
      expect(await queue.list('waiting')).toMatchObject([{ attemptsMade: 0, stalledCount: 0 }]);
    }
  });

  test('cuts short the time that a coordinator gives the jobs of its queue', async () => {
    const server = await rig.server();
    const container = await createContainer({
      redisUrl: server.url,
      shutdownTimeoutMs: stretched(500),
      coordinators: {
        // For 30 s.
        jobs: ({ getQueue }) => {
          const queue = getQueue('stuck');
          queue.process(() => new Promise(() => {}), { leaseMs: 600_000 });
          return () => queue.close();
        },
      },
    });
    const queue = new TaskQueue('stuck', rig.manager(server.url));
    await queue.add('job', null);
    await until(async () => (await queue.counts()).active === 1, { what: 'the job to be in hand' });
    await expect(container.shutdown()).rejects.toThrow(/a coordinator did not end within shutdownTimeoutMs/);
    expect(await queue.counts()).toMatchObject({ waiting: 1, active: 0 });
  });

  test('is bounded, and says at its end what did not end well', async () => {
    const failed = new Error('would not end');
    const container = await createContainer({
      redis: memory(),
      shutdownTimeoutMs: 100,
      coordinators: {
        fails: async () => async () => {
          throw failed;
        },
        hangs: async () => () => new Promise(() => {}),
      },
    });
    const begin = performance.now();
    const error = await container.shutdown().then(
      () => undefined,
      (caught: unknown) => caught,
    );
    expect(performance.now() - begin).toBeLessThan(stretched(5_000));
    expect(error).toBeInstanceOf(AggregateError);
    expect((error as AggregateError).errors).toEqual([
      expect.objectContaining({ message: expect.stringMatching(/shutdownTimeoutMs/) }),
      failed,
    ]);
    expect(container.manager.state).toBe('closed');
  });

  test('with a server that stands still is bounded too', async () => {
    const server = await rig.server();
    const container = await createContainer({ redis: { url: server.url, closeTimeoutMs: 300 }, shutdownTimeoutMs: 300 });
    await container.getRegistry().register({ id: 'w' });
    await server.freeze();
    const begin = performance.now();
    await expect(container.shutdown()).rejects.toThrow(/registry did not end within shutdownTimeoutMs/);
    expect(performance.now() - begin).toBeLessThan(stretched(5_000));
    server.thaw();
  });
});

describe('shutdownOnSignals', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends the container, and the process by that signal', async (signal) => {
    const server = await rig.server();
    const registry = new WorkerRegistry(rig.manager(server.url), { autoHeartbeat: false });
    const child = startProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const container = await redis.createContainer({
          redisUrl: args.url,
          coordinators: { one: async () => async () => emit('ended') },
        });
        redis.shutdownOnSignals(container);
        await container.getRegistry().register({ id: 'w' });
        emit('ready');
        setInterval(() => {}, 1_000);
      },
      { args: { url: server.url } },
    );
    await child.line((line) => line === 'ready');
    process.kill(child.pid, signal);
    expect(await child.ended).toMatchObject({ code: signal, lines: ['ready', 'ended'], stderr: '' });
    expect(await registry.get('w')).toBeNull();
  });

  test('a signal that does not end the process by itself ends it all the same', async () => {
    const child = startProcess(async ({ redis, emit }) => {
      redis.shutdownOnSignals({ shutdown: async () => emit('ended') }, { signals: ['SIGWINCH'] });
      emit('ready');
      setInterval(() => {}, 1_000);
    });
    await child.line((line) => line === 'ready');
    process.kill(child.pid, 'SIGWINCH');
    expect(await child.ended).toMatchObject({ code: 128 + constants.signals.SIGWINCH, lines: ['ready', 'ended'], stderr: '' });
  });

  test.each(PLACES)('$place ends after its shutdown, and at a second signal', async ({ through, code }) => {
    const first = ({ redis, emit, args }: ChildContext<{ hangs: boolean }>): void => {
      redis.shutdownOnSignals({
        shutdown: () => {
          emit('shutting down');
          if (!args.hangs) return Promise.resolve();
          process.kill(process.pid, 'SIGTERM');
          return new Promise(() => {});
        },
      });
      setInterval(() => {}, 1_000);
      process.kill(process.pid, 'SIGTERM');
    };
    for (const hangs of [false, true]) {
      expect(await runProcess(first, { args: { hangs }, through })).toMatchObject({ code, lines: ['shutting down'], stderr: '' });
    }
  });

  test('nothing handles a signal before it is called, nor after its handlers are taken away', async () => {
    const ended = await runProcess<RedisConfig>(
      async ({ redis, emit, args }) => {
        const count = (): number => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT') + process.listenerCount('SIGHUP');
        const container = await redis.createContainer({ redis: args });
        emit(count());
        const remove = redis.shutdownOnSignals(container, { signals: ['SIGHUP', 'SIGTERM'] });
        emit(count());
        remove();
        emit(count());
        await container.shutdown();
      },
      { args: memory() },
    );
    expect(ended.lines).toEqual([0, 2, 0]);
  });

  test('what shutdown() rejects with is told, and bad arguments are refused', async () => {
    const { shutdownOnSignals } = await import('redis-backplane');
    const bad = <T>(value: unknown): T => value as T;
    expect(() => shutdownOnSignals(bad({}))).toThrow(RedisError);
    const signals = (given: unknown) => () => shutdownOnSignals({ shutdown: async () => {} }, { signals: bad(given) });
    expect(signals('SIGTERM')).toThrow(/signals: expected an array/);
    for (const given of ['SIGFOO', 'sigterm', 15, 'SIGKILL', 'SIGSTOP', 'toString', undefined]) {
      expect(signals(['SIGUSR2', given])).toThrow(/shutdownOnSignals: signals: expected names of signals/);
    }
    expect(process.listenerCount('SIGUSR2')).toBe(0);
    const child = startProcess(async ({ redis, emit }) => {
      redis.shutdownOnSignals(
        { shutdown: () => Promise.reject(new Error('not well')) },
        { onError: (error) => emit((error as Error).message) },
      );
      emit('ready');
      setInterval(() => {}, 1_000);
    });
    await child.line((line) => line === 'ready');
    process.kill(child.pid, 'SIGTERM');
    expect(await child.ended).toMatchObject({ code: 'SIGTERM', lines: ['ready', 'not well'] });
  });
});

test('a manager of its own is not disturbed by a container', async () => {
  const config = memory();
  const manager = rig.manager(config);
  const container = await createContainer({ redis: config });
  await container.shutdown();
  expect(await manager.ping()).toBeGreaterThanOrEqual(0);
  expect(manager).toBeInstanceOf(RedisConnectionManager);
});
