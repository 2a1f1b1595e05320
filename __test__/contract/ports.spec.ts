/** Public objects behind a `Proxy`, taken apart, and replaced by test doubles: one suite on every backend. */
import {
  bullmqConnection,
  createContainer,
  deduplicateEvent,
  type Envelope,
  type IKVStore,
  type IRedisConnection,
  type Job,
  type JobContext,
  KVStore,
  MessageBus,
  type MessageContext,
  makeRedisBus,
  makeRedisKV,
  once,
  type RedisError,
  TaskQueue,
  type WorkerClaim,
  WorkerRegistry,
} from 'redis-backplane';
import { describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { refusalOf } from '../support/failure.ts';
import { gate } from '../support/live-bus.ts';
import { thrown } from '../support/queues.ts';
import { until, within } from '../support/until.ts';

const proxied = <T extends object>(target: T): T => new Proxy(target, {});

async function claimed(registry: WorkerRegistry): Promise<WorkerClaim> {
  const claim = await registry.claim();
  if (claim === null) throw new Error('nobody could be claimed');
  return claim;
}

describeBackends('public objects', (backend) => {
  describe('work through a Proxy', () => {
    test('a manager, and a store on one', async () => {
      const manager = proxied(backend.manager());
      const heard: string[] = [];
      const listener = (): void => void heard.push('ready');
      manager.on('ready', listener).once('end', () => {});
      await manager.connect();
      expect(await manager.command('ECHO', 'a')).toBe('a');
      expect(await manager.transaction([['ECHO', 'b']])).toEqual(['b']);
      expect(await manager.script('return ARGV[1]', [], ['c'])).toBe('c');
      expect([manager.state, manager.isConnected(), (await manager.health()).ok]).toEqual(['ready', true, true]);
      expect(manager.metrics().redis_commands_pending).toBe(0);
      await until(() => heard.length === 1, { what: 'ready' });
      manager.off('ready', listener);

      const kv = proxied(new KVStore(manager));
      await kv.set('k', 1);
      await kv.mset({ l: 2 });
      expect([await kv.get('k'), await kv.update<number>('k', (n) => (n ?? 0) + 1)]).toEqual([1, 2]);
      expect(await kv.getOrSet('m', () => 3, { ttlSec: 10 })).toBe(3);
      const keys: string[] = [];
      for await (const key of kv.scan()) keys.push(key);
      expect(keys.sort()).toEqual(['k', 'l', 'm']);
      expect(await once(kv, 'o', () => 4, 10)).toBe(4);
      expect(await deduplicateEvent(kv, 'e', 10)).toBe(true);
      expect(await kv.clear()).toBe(5);
      const lock = proxied(await kv.lock('k'));
      await lock.extend(1_000);
      expect([lock.key, lock.signal.aborted, await lock.release()]).toEqual(['k', false, true]);
      await manager.disconnect();
    });

    test('a bus, its subscriptions, contexts, iterators and dead letters', async () => {
      const bus = proxied(new MessageBus(proxied(backend.manager()), { subscriber: proxied(backend.manager()) }));
      await bus.ready();
      const seen: [unknown, boolean, number][] = [];
      const handler = (message: Envelope<number>, context: MessageContext): void => {
        const through = proxied(context);
        seen.push([message.payload, through.signal.aborted, through.attempt]);
      };
      const unsubscribe = proxied(await bus.subscribe('t', handler));
      const durable = proxied(await bus.subscribe('t', handler, { group: 'g' }));
      const pattern = await bus.psubscribe('t*', handler);
      await bus.publish('t', 1, { durable: true });
      await until(() => seen.length === 3, { what: 'three handlers' });
      expect(seen).toEqual([
        [1, false, 1],
        [1, false, 1],
        [1, false, 1],
      ]);
      const letters = proxied(bus.deadLetters('t', 'g'));
      expect([await letters.count(), await letters.list(), await letters.redrive(), await letters.purge()]).toEqual([0, [], 0, 0]);
      expect((await bus.groups('t')).map(({ name }) => name)).toEqual(['g']);
      const messages = proxied(proxied(bus.messages<number>('u'))[Symbol.asyncIterator]());
      const next = messages.next();
      await bus.ready();
      await bus.publish('u', 2);
      expect((await next).value.payload).toBe(2);
      await messages.return?.();
      await bus.respond('r', (n: number) => n + 1);
      expect(await bus.request('r', 1)).toBe(2);
      await unsubscribe();
      await durable[Symbol.asyncDispose]();
      await pattern();
      await bus.close();
    });

    test('a queue, its jobs and workers', async () => {
      const queue = proxied(new TaskQueue<number, number>('work', proxied(backend.manager())));
      const seen: unknown[] = [];
      const worker = proxied(
        queue.process(async (job, context) => {
          const [ownJob, own] = [proxied(job), proxied(context)];
          await ownJob.updateProgress(0.5);
          await ownJob.log('half');
          seen.push([ownJob.data, ownJob.progress, own.attempt, own.signal.aborted, await own.children()]);
          return ownJob.data + 1;
        }),
      );
      const job = proxied(await queue.add('x', 1));
      expect(await job.waitUntilFinished()).toBe(2);
      expect(seen).toEqual([[1, 0.5, 1, false, {}]]);
      expect(await job.refresh()).toBe(job);
      expect([job.state, job.result, job.progress, await job.logs(), job.stacktrace]).toEqual(['completed', 2, 0.5, ['half'], []]);
      expect(JSON.parse(JSON.stringify(job))).toMatchObject({ id: job.id, state: 'completed' });
      expect((await queue.addBulk([{ name: 'x', data: 2 }])).length).toBe(1);
      const listener = (): void => {};
      queue.on('completed', listener);
      await queue.ready();
      queue.off('completed', listener);
      worker.on('idle', listener).off('idle', listener);
      expect(worker.isRunning()).toBe(true);
      expect(await worker.close()).toBe(true);
      await queue.close();
    });

    test('a registry, its claims and leaderships', async () => {
      const registry = proxied(new WorkerRegistry(proxied(backend.manager())));
      const worker = await registry.register({ id: 'w', capacity: 2 });
      const claim = proxied(await claimed(registry));
      expect([claim.workerId, claim.worker.epoch, await claim.renew(), await claim.release()]).toEqual(['w', worker.epoch, true, true]);
      const leadership = proxied(await registry.elect('role'));
      expect([leadership.role, leadership.signal.aborted]).toEqual(['role', false]);
      await leadership.resign();
      expect(await registry.heartbeat('w')).toBe(true);
      expect((await registry.list()).map(({ id }) => id)).toEqual(['w']);
      await registry.cleanup();
    });

    test('a container', async () => {
      const container = proxied(await createContainer({ redis: { url: backend.url, namespace: backend.namespace } }));
      await container.getKV().set('k', 1);
      expect((await container.getQueue('q').counts()).waiting).toBe(0);
      expect((await container.health()).ok).toBe(true);
      await container.shutdown();
    });

    test('a client for BullMQ and its transactions', async () => {
      const client = proxied(bullmqConnection(proxied(backend.manager())));
      await client.connect();
      client.defineCommand('echo', { numberOfKeys: 0, lua: 'return ARGV[1]' });
      expect([client.status, await client.runCommand('echo', ['a']), await client.call('ECHO', 'b')]).toEqual(['ready', 'a', 'b']);
      const multi = proxied(client.multi());
      expect(await multi.hset(`${backend.namespace}:h`, { f: 1 }).del(`${backend.namespace}:h`).exec()).toEqual([
        [null, 1],
        [null, 1],
      ]);
      const duplicate = proxied(client.duplicate());
      await duplicate.connect();
      await duplicate.quit();
      await client.quit();
    });

    test('a Proxy of a manager is that manager: loads are shared, a crash is heard', async () => {
      const manager = backend.manager();
      const [one, other] = [new KVStore(manager), new KVStore(proxied(manager))];
      let loads = 0;
      const { opened, open } = gate();
      const load = async (): Promise<number> => {
        loads += 1;
        await opened;
        return loads;
      };
      const first = one.getOrSet('k', load, { ttlSec: 10 });
      await until(() => loads === 1, { what: 'the load' });
      const second = other.getOrSet('k', load, { ttlSec: 10 });
      open();
      expect(await Promise.all([first, second])).toEqual([1, 1]);
      expect(thrown(() => new MessageBus(manager, { subscriber: proxied(manager), sharded: 1 as never })).redisErrorKind).toBe('config');
    });
  });

  describe('work where they were taken apart', () => {
    test('a lock, a claim, a leadership', async () => {
      const manager = backend.manager();
      const { release, extend, signal, token } = await new KVStore(manager).lock('k');
      await extend(5_000);
      expect([signal.aborted, token > 0, await release(), await release()]).toEqual([false, true, true, false]);
      const registry = new WorkerRegistry(manager);
      await registry.register({ id: 'w' });
      const { renew, release: giveBack, workerId } = await claimed(registry);
      expect([workerId, await renew(1_000), await giveBack()]).toEqual(['w', true, true]);
      const { resign, signal: led } = await registry.elect('role');
      await resign();
      expect(led.aborted).toBe(false);
      await registry.cleanup();
    });

    test('the context of a job, of a live and of a durable message; dead letters; a container', async () => {
      const container = await createContainer({ redis: { url: backend.url, namespace: backend.namespace } });
      const { getBus, getQueue, getKV, getRegistry, health, shutdown } = container;
      const seen: unknown[] = [];
      const handler = (_: unknown, { signal, attempt, topic }: MessageContext): void => void seen.push([signal.aborted, attempt, topic]);
      const bus = getBus();
      await bus.subscribe('t', handler);
      await bus.subscribe('t', handler, { group: 'g' });
      await bus.publish('t', 1, { durable: true });
      await until(() => seen.length === 2, { what: 'two handlers' });
      const queue = getQueue<number, number>('q');
      queue.process(async ({ data }: Job<number, number>, { signal, attempt, children }: JobContext) => {
        seen.push([signal.aborted, attempt, await children()]);
        return data;
      });
      expect(await queue.addAndWait('x', 1)).toBe(1);
      expect(seen).toEqual([
        [false, 1, 't'],
        [false, 1, 't'],
        [false, 1, {}],
      ]);
      const { count, list } = bus.deadLetters('t', 'g');
      expect([await count(), await list(), await getKV().get('k'), (await getRegistry().count()).total]).toEqual([0, [], null, 0]);
      expect((await health()).ok).toBe(true);
      await shutdown();
    });
  });

  test('handlers, listeners and coordinators may return anything', async () => {
    const container = await createContainer({
      redis: { url: backend.url, namespace: backend.namespace },
      coordinators: { sync: () => () => 'ended' },
    });
    const got: number[] = [];
    const bus = container.getBus();
    await bus.subscribe<number>('t', ({ payload }) => got.push(payload));
    await bus.psubscribe<number>('t*', async ({ payload }) => got.push(payload));
    bus.on('gap', () => 1);
    await bus.publish('t', 7);
    await until(() => got.length === 2, { what: 'two handlers' });
    expect(got).toEqual([7, 7]);
    await container.shutdown();
  });

  test('every option that is undefined counts as not given', async () => {
    const manager = backend.manager({ username: undefined, tls: undefined, reconnect: { maxAttempts: undefined }, clientName: undefined });
    const kv = new KVStore(manager, { namespace: undefined });
    const bus = new MessageBus(manager, { namespace: undefined, subscriber: undefined, retention: { maxLength: undefined } });
    const queue = new TaskQueue<number, number>('q', manager, { namespace: undefined, defaultJobOptions: { attempts: undefined } });
    const registry = new WorkerRegistry(manager, { heartbeatIntervalMs: undefined, stormShare: undefined });
    const lock = await kv.lock('k', { leaseMs: undefined, waitMs: undefined, signal: undefined });
    await lock.release();
    expect(await kv.getOrSet('k', () => 1, { ttlSec: 1, staleSec: undefined, waitMs: undefined, loadTimeoutMs: undefined })).toBe(1);
    const given = { group: 'g', concurrency: undefined, from: undefined, retry: { maxAttempts: undefined }, signal: undefined };
    const ends = [
      await bus.subscribe('t', () => {}, given),
      await bus.subscribe('t', () => {}, { maxPending: undefined, group: undefined }),
    ];
    await bus.publish('t', 1, { durable: true, key: undefined, id: undefined, dedupeMs: undefined, traceparent: undefined });
    const worker = queue.process((job) => job.data, { concurrency: undefined, rateLimit: undefined, registry: undefined });
    const options = { delayMs: undefined, backoff: undefined, dedupe: undefined, keepCompleted: { count: undefined }, children: undefined };
    expect(await queue.addAndWait('x', 1, { job: options, timeoutMs: undefined })).toBe(1);
    await registry.register({ id: undefined, type: undefined, metadata: undefined });
    expect((await registry.list({ type: undefined, limit: undefined })).length).toBe(1);
    expect((await registry.claim({ leaseMs: undefined, capabilities: undefined }))?.token).toBeGreaterThan(0);
    await worker.close({ graceMs: undefined });
    await Promise.all(ends.map((end) => end()));
    await registry.cleanup();
    await Promise.all([bus.close(), queue.close()]);
  });
});

describe('a test double', () => {
  /** It has what the interface has, and nothing native. */
  const manager: IRedisConnection = new Proxy(bare<IRedisConnection>(), { get: (_, name) => (name === 'state' ? 'ready' : () => manager) });
  const store: IKVStore = bare<IKVStore>();

  test.each<[string, () => unknown]>([
    ['KVStore', () => new KVStore(manager)],
    ['makeRedisKV', () => makeRedisKV(manager)],
    ['MessageBus', () => new MessageBus(manager)],
    ['makeRedisBus', () => makeRedisBus(manager)],
    ['WorkerRegistry', () => new WorkerRegistry(manager)],
    ['TaskQueue', () => new TaskQueue('q', manager)],
    ['bullmqConnection', () => bullmqConnection(manager)],
  ])('of a manager is refused by name where a real one is needed: %s', (_, make) => {
    const error: RedisError = thrown(make);
    expect([error.redisErrorKind, error.message]).toEqual([
      'config',
      expect.stringMatching(/RedisConnectionManager.*double.*got an object/),
    ]);
  });

  test('of a store is refused by name where a real one is needed', async () => {
    await within(
      1_000,
      refusalOf(
        once(store, 'k', () => 1, 1),
        'config',
        /^once: kv: expected a KVStore .*double/,
      ),
      'a refusal',
    );
    await refusalOf(deduplicateEvent(store, 'k', 1), 'config', /^deduplicateEvent: kv: expected a KVStore .*double/);
  });

  /** Members that a double's user never calls. */
  function bare<T extends object>(): T {
    return { command: () => undefined, get: () => undefined } as object as T;
  }
});
