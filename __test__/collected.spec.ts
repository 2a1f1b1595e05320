/** What a process keeps of what has ended: nothing, also where listeners and handlers know what they are on. In processes of their own. */
import { expect, it } from 'vitest';
import { BACKENDS } from './support/backends.ts';
import { runProcess } from './support/process.ts';
import { RedisServer } from './support/redis-server.ts';

const MANY = 20;

for (const kind of BACKENDS) {
  const onServer = async (run: (url: string) => Promise<void>): Promise<void> => {
    if (kind === 'memory') return run('memory://collected');
    await using server = await RedisServer.start();
    await run(server.url);
  };

  it(`lets go of what was disconnected or closed, though its listeners know it, on ${kind}`, async () => {
    await onServer(async (url) => {
      const ended = await runProcess(
        async ({ redis, emit, args }) => {
          const { RedisConnectionManager, MessageBus, TaskQueue, WorkerRegistry, createContainer } = redis;
          const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
          const heard = (count: () => number): Promise<void> => {
            const look = async (): Promise<void> => {
              while (count() === 0) await turn();
            };
            return look();
          };
          const made = () => {
            const manager = new RedisConnectionManager(args.url);
            manager.on('state', () => manager.state).on('error', () => manager.state);
            manager.once('ready', () => manager.state);
            return manager;
          };
          /** Each uses something, ends it, and gives what must be gone. */
          const uses: Record<string, () => Promise<object[]>> = {
            async manager() {
              const manager = made();
              await manager.connect();
              await manager.disconnect();
              return [manager];
            },
            async 'manager that was connected again'() {
              const manager = made();
              await manager.connect();
              await manager.disconnect();
              await manager.connect();
              await manager.disconnect();
              return [manager];
            },
            async 'manager that gave up'() {
              const manager = new RedisConnectionManager({ url: 'redis://127.0.0.1:1', reconnect: { maxAttempts: 1 } });
              manager.on('error', () => manager.state);
              await manager.connect().catch(() => {});
              return [manager];
            },
            async 'bus whose manager was disconnected'() {
              const manager = made();
              const bus = new MessageBus(manager);
              let got = 0;
              bus.on('error', () => bus.close());
              await bus.subscribe('t', () => {
                got++;
                return bus.publish('u', 1) as unknown as Promise<void>;
              });
              await bus.subscribe('d', () => void bus.on('gap', () => {}), { group: 'g' });
              await bus.publish('t', 1);
              await heard(() => got);
              await manager.disconnect();
              return [bus, manager];
            },
            async 'bus that was closed'() {
              const manager = made();
              const bus = new MessageBus(manager);
              bus.on('error', () => bus.close());
              await bus.subscribe('t', () => void bus.publish('u', 1));
              await bus.subscribe('d', () => void bus.publish('u', 1), { group: 'g' });
              await bus.close();
              await manager.disconnect();
              return [bus, manager];
            },
            async 'queue and worker whose manager was disconnected'() {
              const manager = made();
              const queue = new TaskQueue('q', manager);
              let done = 0;
              const worker = queue.process(async () => void queue.name);
              worker.on('completed', () => {
                done++;
                worker.isRunning();
              });
              queue.on('completed', () => queue.name);
              await queue.add('n', 1);
              await heard(() => done);
              await manager.disconnect();
              return [queue, worker, manager];
            },
            async 'queue and worker that were closed'() {
              const manager = made();
              const queue = new TaskQueue('q', manager);
              const worker = queue.process(async () => void queue.name);
              worker.on('completed', () => worker.isRunning());
              queue.on('completed', () => queue.name);
              await queue.add('n', 1);
              await queue.close();
              await manager.disconnect();
              return [queue, worker, manager];
            },
            async 'registry whose manager was disconnected'() {
              const manager = made();
              const registry = new WorkerRegistry(manager, { namespace: 'r' });
              registry.on('joined', () => Reflect.has(registry, 'list')).on('error', () => Reflect.has(registry, 'list'));
              registry.on('fenced', () => registry);
              await registry.ready();
              await registry.register({ id: `w-${Math.random()}` });
              const leadership = await registry.elect(`role-${Math.random()}`);
              leadership.signal.addEventListener('abort', () => registry.list().catch(() => {}));
              await manager.disconnect();
              return [registry, manager];
            },
            async 'registry that was cleaned up'() {
              const manager = made();
              const registry = new WorkerRegistry(manager, { namespace: 'r' });
              registry.on('joined', () => Reflect.has(registry, 'list')).on('error', () => Reflect.has(registry, 'list'));
              await registry.register({ id: `w-${Math.random()}` });
              await registry.cleanup();
              registry.on('command', () => Reflect.has(registry, 'list'));
              await manager.disconnect();
              return [registry, manager];
            },
            async container() {
              const container = await createContainer({ redisUrl: args.url });
              container.manager.on('state', () => container.health());
              container.getBus().on('error', () => container.health());
              container.getRegistry().on('crashed', () => container.health());
              container.getQueue('c').on('completed', () => container.health());
              container.getQueue('c').process(() => container.health());
              await container.getBus().subscribe('c', () => void container.health());
              await container.getKV().set('k', 1);
              await container.shutdown();
              return [
                container,
                container.manager,
                container.getBus(),
                container.getKV(),
                container.getRegistry(),
                container.getQueue('c'),
              ];
            },
          };
          const { gc } = globalThis as typeof globalThis & { gc(): void };
          for (const [name, use] of Object.entries(uses)) {
            const refs: WeakRef<object>[] = [];
            for (let n = 0; n < args.many; n++) refs.push(...(await use()).map((object) => new WeakRef(object)));
            const left = (): number => refs.filter((ref) => ref.deref() !== undefined).length;
            for (let n = 0; n < 100 && left() > 0; n++) {
              await turn();
              gc();
            }
            emit([name, left()]);
          }
        },
        { nodeOptions: ['--expose-gc'], args: { url, many: MANY }, timeoutMs: 120_000 },
      );
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      expect(ended.lines).toHaveLength(10);
      for (const line of ended.lines) expect(line).toEqual([expect.any(String), 0]);
    });
  }, 150_000);

  it(`goes on hearing what was forgotten while it is connected, on ${kind}`, async () => {
    await onServer(async (url) => {
      const ended = await runProcess(
        async ({ redis, emit, args }) => {
          const { RedisConnectionManager, MessageBus, WorkerRegistry, TaskQueue } = redis;
          const heard = new Set<string>();
          let asked = 0;
          let manager: InstanceType<typeof RedisConnectionManager> | undefined;
          const begin = async (): Promise<void> => {
            // Nobody keeps any of these.
            const forgotten = new RedisConnectionManager(args.url);
            forgotten.on('end', () => heard.add(`end while ${forgotten.state}`));
            await new MessageBus(forgotten).subscribe('t', () => void heard.add('live'));
            await new MessageBus(forgotten).subscribe('d', () => void heard.add('durable'), { group: 'g' });
            const registry = new WorkerRegistry(forgotten).on('joined', () => heard.add('joined'));
            await registry.ready();
            const queue = new TaskQueue('q', forgotten).on('completed', () => heard.add('completed'));
            queue.process(async () => {});
            manager = forgotten;
          };
          await begin();
          const other = new RedisConnectionManager(args.url);
          const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
          const { gc } = globalThis as typeof globalThis & { gc(): void };
          const kept = manager as InstanceType<typeof RedisConnectionManager>;
          manager = undefined;
          for (let n = 0; n < 20; n++) {
            await turn();
            gc();
          }
          const bus = new MessageBus(other);
          await bus.publish('t', 1);
          await bus.publish('d', 1, { durable: true });
          const registry = new WorkerRegistry(other);
          await registry.register();
          await new TaskQueue('q', other).add('n', 1);
          while (heard.size < 4) {
            gc();
            await turn();
          }
          await registry.cleanup();
          await bus.close();
          await other.disconnect();
          await kept.disconnect();
          while (heard.size < 5) await turn();

          // A bus keeps the manager that it asks for passwords.
          const bare = new MessageBus(
            new RedisConnectionManager({
              url: args.url,
              password: () => {
                asked++;
                return args.url.startsWith('memory') ? '' : 'unused';
              },
            }),
          );
          for (let n = 0; n < 20; n++) {
            await turn();
            gc();
          }
          await bare.publish('t', 1).catch(() => {});
          for (const manager of new Set(
            (bare as unknown as Record<symbol, { managers: { disconnect(): Promise<void> }[] }>)[Symbol.for('redis-backplane.internals')]
              ?.managers,
          ))
            await manager.disconnect();
          emit([[...heard].sort(), asked > 0]);
        },
        { nodeOptions: ['--expose-gc'], args: { url }, timeoutMs: 60_000 },
      );
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      expect(ended.lines).toEqual([[['completed', 'durable', 'end while closed', 'joined', 'live'], true]]);
    });
  }, 90_000);

  it(`keeps a lock whose store was forgotten, until it is released, on ${kind}`, async () => {
    await onServer(async (url) => {
      const ended = await runProcess(
        async ({ redis, emit, args }) => {
          const manager = new redis.RedisConnectionManager(args.url);
          const lock = await new redis.KVStore(manager).lock('k', { leaseMs: 30_000 });
          for (let round = 0; round < 10; round++) {
            (globalThis as unknown as { gc(): void }).gc();
            await new Promise((resolve) => setImmediate(resolve));
            await manager.ping();
          }
          emit([lock.signal.aborted, await lock.release()]);
          await manager.disconnect();
        },
        { args: { url }, nodeOptions: ['--expose-gc'] },
      );
      expect([ended.code, ended.lines], ended.stderr).toEqual([0, [[false, true]]]);
    });
  });
}
