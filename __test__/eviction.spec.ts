/** The warning of a server that deletes keys when its memory is full. Each in a process of its own: it is said once per process. */
import { describe, expect, it } from 'vitest';
import { runProcess } from './support/process.ts';
import { RedisServer, type RedisServerOptions } from './support/redis-server.ts';

/** Uses `features` on `url`, twice and on two managers, and tells what was warned of, by name. */
async function warnings(url: string, features: string[]): Promise<[name: string, message: string][]> {
  const child = await runProcess<{ url: string; features: string[] }>(
    async ({ redis, emit, args }) => {
      process.on('warning', ({ name, message }) => emit([name, message]));
      const { MessageBus, RedisConnectionManager, TaskQueue, WorkerRegistry } = redis;
      const used: Record<string, (manager: InstanceType<typeof RedisConnectionManager>) => Promise<unknown>> = {
        live: async (manager) => {
          const bus = new MessageBus(manager);
          await bus.subscribe('t', () => {});
          await bus.publish('t', 1);
          await bus.close();
        },
        durable: async (manager) => {
          const bus = new MessageBus(manager);
          await bus.publish('t', 1, { durable: true });
          await bus.close();
        },
        group: async (manager) => {
          const bus = new MessageBus(manager);
          await bus.subscribe('t', () => {}, { group: 'g' });
          await bus.close();
        },
        queue: async (manager) => {
          const queue = new TaskQueue('q', manager);
          await queue.add('x', 1);
          await queue.addBulk([{ name: 'x', data: 1 }]);
          await queue.close();
        },
        registry: async (manager) => {
          const registry = new WorkerRegistry(manager);
          await registry.register();
          await registry.cleanup();
        },
      };
      for (let round = 0; round < 2; round++) {
        const manager = new RedisConnectionManager({ url: args.url, namespace: 'ns' });
        for (let turn = 0; turn < 2; turn++) for (const feature of args.features) await used[feature]?.(manager);
        await manager.ping();
        await manager.disconnect();
      }
    },
    { args: { url, features } },
  );
  expect([child.code, child.stderr.replace(/^\(node:.*\n|^\(Use `node.*\n/gm, '')]).toEqual([0, '']);
  return child.lines as [string, string][];
}

async function withServer<T>(options: RedisServerOptions, policy: string, run: (server: RedisServer) => Promise<T>): Promise<T> {
  await using server = await RedisServer.start(options);
  await server.cli('CONFIG', 'SET', 'maxmemory-policy', policy);
  return await run(server);
}

const BOUND = { maxmemory: '50mb' };

describe('a server that deletes keys when its memory is full', () => {
  it.each(['durable', 'group', 'queue', 'registry'])(
    'is warned of once in a process, by who keeps something there: %s',
    async (feature) => {
      await withServer(BOUND, 'allkeys-lru', async (server) => {
        const [warning, ...more] = await warnings(server.url, [feature]);
        expect(more).toEqual([]);
        expect(warning?.[0]).toBe('RedisEvictionWarning');
        expect(warning?.[1]).toMatch(
          new RegExp(`127\\.0\\.0\\.1:${server.port} has maxmemory-policy allkeys-lru: .*jobs, durable messages`),
        );
      });
    },
  );

  it('is warned of with what has an expiry, where only that is deleted', async () => {
    await withServer(BOUND, 'volatile-ttl', async (server) => {
      expect(await warnings(server.url, ['queue'])).toEqual([
        ['RedisEvictionWarning', expect.stringMatching(/volatile-ttl: .*expiry, among them locks/)],
      ]);
    });
  });

  it('is not warned of by who keeps nothing there that must last', async () => {
    await withServer(BOUND, 'allkeys-lru', async (server) => expect(await warnings(server.url, ['live'])).toEqual([]));
  });

  it.each([
    ['that refuses writes instead', BOUND, 'noeviction'],
    ['whose memory has no bound', {}, 'allkeys-lru'],
    ['that does not let this user ask', { ...BOUND, acl: ['app on >secret ~* &* +@all -info'] }, 'allkeys-lru'],
  ])('is none, and nothing fails, of a server %s', async (_, options, policy) => {
    await withServer(options, policy, async (server) => {
      const url = 'acl' in options ? server.url.replace('redis://', 'redis://app:secret@') : server.url;
      expect(await warnings(url, ['queue', 'registry', 'group'])).toEqual([]);
    });
  });

  it('is never asked of the engine in memory, which deletes nothing', async () => {
    expect(await warnings('memory://eviction', ['queue', 'durable', 'registry'])).toEqual([]);
  });
});
