/**
 * A process that connects, uses, listens and drops again and again holds no more in the end than after its first rounds: heap, handles, resident
 * memory, descriptors.
 *
 * `COLLECTED_SOAK_MS` is how long (default 4 000, once each on a real server and on `memory://`).
 */
import { expect, it } from 'vitest';
import { BACKENDS } from '../support/backends.ts';
import { runProcess } from '../support/process.ts';
import { RedisServer } from '../support/redis-server.ts';

const SOAK_MS = Number(process.env.COLLECTED_SOAK_MS ?? 4_000);

interface Held {
  ms: number;
  rounds: number;
  heap: number;
  external: number;
  resident: number;
  handles: number;
  descriptors: number;
}

for (const kind of BACKENDS) {
  it(
    `holds no more after any number of connections, listeners and subscriptions, on ${kind}`,
    async () => {
      await using server = kind === 'redis-server' ? await RedisServer.start() : undefined;
      const ended = await runProcess(
        async ({ redis, emit, args, require }) => {
          const { RedisConnectionManager, MessageBus, TaskQueue, WorkerRegistry, KVStore, createContainer } = redis;
          const { readdirSync } = require('node:fs') as typeof import('node:fs');
          const { setImmediate: turnOf } = require('node:timers/promises') as typeof import('node:timers/promises');
          const { gc } = globalThis as typeof globalThis & { gc(): void };
          const begun = performance.now();
          let round = 0;
          const once = async (): Promise<void> => {
            round++;
            // Few names, so that what the server keeps does not grow with the rounds.
            const name = `n${round % 8}`;
            const manager = new RedisConnectionManager({ url: args.url, namespace: 'soak' });
            manager.on('state', () => manager.state).on('error', () => manager.state);
            manager.once('end', () => manager.state);
            await manager.connect();
            const bus = new MessageBus(manager);
            bus.on('error', () => bus.close());
            let got = 0;
            const heard = new Promise<void>((resolve) => {
              const take = (): void => {
                got++;
                if (got === 2) resolve();
              };
              void bus
                .subscribe(name, take)
                .then(() => bus.subscribe(`d${name}`, take, { group: 'g' }))
                .then(() => bus.publish(name, round))
                .then(() => bus.publish(`d${name}`, 'x'.repeat(100), { durable: true }));
            });
            const queue = new TaskQueue(name, manager);
            const worker = queue.process(async () => queue.name);
            const done = new Promise<void>((resolve) => worker.on('completed', () => resolve()));
            queue.on('completed', () => queue.name);
            const registry = new WorkerRegistry(manager, { namespace: 'r' });
            registry.on('joined', () => registry).on('error', () => registry);
            await registry.register({ id: name });
            await queue.add('job', round, { keepCompleted: false });
            await new KVStore(manager).set(name, round);
            await Promise.all([heard, done]);
            // Half of them in order, half as a program does that only disconnects.
            if (round % 2 === 0) {
              await bus.close();
              await queue.close();
              await registry.cleanup();
            } else {
              await registry.unregister(name);
            }
            await manager.disconnect();
            const container = await createContainer({ redisUrl: args.url });
            container.manager.on('state', () => container.health());
            await container.getBus().subscribe(name, () => void container.health());
            await container.shutdown();
          };
          const held = async (): Promise<void> => {
            for (let n = 0; n < 20; n++) {
              await turnOf();
              gc();
            }
            const { heapUsed, external, rss } = process.memoryUsage();
            const handles = process.getActiveResourcesInfo().length;
            const descriptors = readdirSync('/proc/self/fd').length;
            emit({ ms: performance.now() - begun, rounds: round, heap: heapUsed, external, resident: rss, handles, descriptors });
          };
          const every = Math.max(500, args.ms / 20);
          // On a busy machine measuring alone may take as long as all of it is to: rounds count then.
          for (let measured = 0; performance.now() - begun < args.ms || measured < 5; measured++) {
            const [until, least] = [performance.now() + every, round + 5];
            while (performance.now() < until || round < least) await once();
            await held();
          }
        },
        {
          nodeOptions: ['--expose-gc'],
          args: { url: server?.url ?? 'memory://collected-soak', ms: SOAK_MS },
          timeoutMs: SOAK_MS * 2 + 60_000,
        },
      );
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      const lines = ended.lines as Held[];
      const [first, last] = [lines[Math.floor(lines.length / 4)] as Held, lines.at(-1) as Held];
      const shown = [...lines.filter((_, at) => at % 5 === 0), last]
        .map((at) => `${JSON.stringify({ ...at, ms: Math.round(at.ms) })}`)
        .join('\n');
      if (SOAK_MS > 60_000) console.log(`${kind}\n${shown}`);
      expect(last.rounds, shown).toBeGreaterThan(first.rounds);
      expect(last.handles, shown).toBeLessThanOrEqual(first.handles);
      expect(last.descriptors, shown).toBeLessThanOrEqual(first.descriptors);
      // Code that is compiled meanwhile, and what allocators keep; each manager kept would be 4 KB of heap and 100 KB of the rest.
      expect(last.heap - first.heap, shown).toBeLessThan(1024 * 1024);
      expect(last.external - first.external, shown).toBeLessThan(1024 * 1024);
      expect(last.resident - first.resident, shown).toBeLessThan(24 * 1024 * 1024);
    },
    SOAK_MS * 2 + 90_000,
  );
}
