/** What keeps a process alive, and what must never crash or hang one. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RedisConnectionManager, WorkerRegistry } from 'redis-backplane';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNoClients } from './support/leaks.ts';
import { PACKAGE_ROOT, runProcess, startProcess } from './support/process.ts';
import { RedisServer } from './support/redis-server.ts';
import { until } from './support/until.ts';
import { watchedFolder } from './support/watched.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

const args = () => ({ url: server.url });

describe('the end of a process', () => {
  it('comes by itself when only an idle ready connection is left', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        await manager.connect();
        emit(manager.state);
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 0, lines: ['ready'], stderr: '' });
    await expectNoClients(server);
  });

  it('comes by itself when a manager was made and never used', async () => {
    const ended = await runProcess<{ url: string }>(
      ({ redis, args }) => {
        new redis.RedisConnectionManager(args.url);
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 0, stderr: '' });
  });

  it('comes by itself after disconnect', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        await manager.command('PING');
        await manager.disconnect();
        emit(manager.state);
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 0, lines: ['closed'] });
  });

  it('waits for a pending command that nobody awaits', async () => {
    const ended = await runProcess<{ url: string }>(
      ({ redis, emit, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        manager.command('SET', 'late', 'done').then(emit);
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 0, lines: ['OK'] });
    expect(await server.cli('GETDEL', 'late')).toBe('done');
  });

  it('waits for a pending blocking command until its reply', async () => {
    const child = startProcess<{ url: string }>(
      ({ redis, emit, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        manager.command('BLPOP', 'queue', 15).then(emit);
      },
      { args: args() },
    );
    await until(async () => (await server.info('blocked_clients')) === '1', { what: 'the child to block', timeoutMs: 10_000 });
    await server.cli('RPUSH', 'queue', 'item');
    expect(await child.ended).toMatchObject({ code: 0, lines: [['queue', 'item']] });
  });

  it('does not come while a command waits for a server that stands still, and comes at its deadline', async () => {
    await using frozen = await RedisServer.start();
    const go = join(watchedFolder(), 'go');
    const child = startProcess<{ url: string; go: string }>(
      async ({ redis, emit, args, require }) => {
        const { existsSync } = require('node:fs') as typeof import('node:fs');
        const manager = new redis.RedisConnectionManager({ url: args.url, commandTimeoutMs: 700 });
        await manager.connect();
        emit('ready');
        while (!existsSync(args.go)) await new Promise((resolve) => setImmediate(resolve));
        const started = performance.now();
        manager.command('PING').catch((error) => emit({ kind: error.redisErrorKind, afterMs: performance.now() - started }));
      },
      { args: { url: frozen.url, go } },
    );
    await child.line((line) => line === 'ready');
    await frozen.freeze();
    writeFileSync(go, '');
    const ended = await child.ended;
    const told = ended.lines[1] as { kind: string; afterMs: number };
    expect(ended.code).toBe(0);
    expect(told.kind).toBe('timeout');
    expect(told.afterMs).toBeGreaterThanOrEqual(690);
  });

  it('is not delayed by process.exit with thousands of commands in flight', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        await manager.connect();
        for (let i = 0; i < 5_000; i += 1) manager.command('ECHO', 'x'.repeat(200)).catch(() => {});
        setImmediate(() => {
          emit('leaving');
          process.exit(7);
        });
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 7, lines: ['leaving'], stderr: '' });
    await expectNoClients(server);
  });

  it.each(['process.exit', 'an uncaught error'])(
    'is clean, and told to the fleet, when %s comes while a worker is registered',
    async (how) => {
      const url = { url: server.url, namespace: 'fleet' };
      const manager = new RedisConnectionManager(url);
      const registry = new WorkerRegistry(manager, { heartbeatIntervalMs: 100 });
      const crashed: string[] = [];
      registry.on('crashed', ({ id }) => crashed.push(id));
      await registry.ready();
      const ended = await runProcess<typeof url & { how: string }>(
        async ({ redis, args: { how, ...config } }) => {
          const leaving = new redis.WorkerRegistry(new redis.RedisConnectionManager(config), { heartbeatIntervalMs: 100 });
          await leaving.register({ id: 'leaver' });
          setImmediate(() => {
            if (how === 'process.exit') process.exit(7);
            throw new Error('on purpose');
          });
        },
        { args: { ...url, how } },
      );
      expect(ended.code).toBe(how === 'process.exit' ? 7 : 1);
      if (how === 'process.exit') expect(ended.stderr).toBe('');
      // The process said so itself, if there was time to; else its deadline tells.
      await until(() => crashed.includes('leaver'), { what: 'the crash', timeoutMs: 3_000 });
      await manager.disconnect();
    },
  );

  it('is clean when process.exit comes at any moment of the first connect', async () => {
    for (const delayMs of [0, 1, 2, 5, 10]) {
      const ended = await runProcess<{ url: string; delayMs: number }>(
        ({ redis, args }) => {
          new redis.RedisConnectionManager(args.url).connect().catch(() => {});
          setTimeout(() => process.exit(0), args.delayMs);
        },
        { args: { ...args(), delayMs } },
      );
      expect(ended).toMatchObject({ code: 0, stderr: '' });
    }
    await expectNoClients(server);
  });

  it('is brought about by an error of the user in a then-callback as ever, without an abort', async () => {
    const ended = await runProcess<{ url: string }>(
      ({ redis, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        manager.command('PING').then(() => {
          throw new Error('the mistake of a user');
        });
      },
      { args: args() },
    );
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain('the mistake of a user');
  });
});

describe('worker threads', () => {
  it('may be terminated with work in flight, and the process goes on', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args, require }) => {
        const { Worker } = require('node:worker_threads') as typeof import('node:worker_threads');
        const main = new redis.RedisConnectionManager(args.url);
        const code = `
          const { RedisConnectionManager } = require('redis-backplane');
          const { parentPort } = require('node:worker_threads');
          const manager = new RedisConnectionManager(${JSON.stringify(args.url)});
          manager.connect().then(() => {
            const more = () => { for (let i = 0; i < 500; i += 1) manager.command('ECHO', 'x').then(() => {}, () => {}); setImmediate(more); };
            more();
            parentPort.postMessage('busy');
          });`;
        for (let round = 0; round < 8; round += 1) {
          const worker = new Worker(code, { eval: true });
          await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
          await worker.terminate();
          emit(await main.command('PING'));
        }
        await main.disconnect();
      },
      { args: args(), timeoutMs: 60_000 },
    );
    expect(ended).toMatchObject({ code: 0, lines: Array(8).fill('PONG'), stderr: '' });
    await expectNoClients(server);
  }, 70_000);

  it('that are terminated while they wait for an element take none', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args, require }) => {
        const { Worker } = require('node:worker_threads') as typeof import('node:worker_threads');
        const code = `
          const { RedisConnectionManager } = require('redis-backplane');
          new RedisConnectionManager({ url: ${JSON.stringify(args.url)}, clientName: 'waiter' }).command('BLPOP', 'jobs', 0);`;
        const worker = new Worker(code, { eval: true });
        const main = new redis.RedisConnectionManager(args.url);
        const waits = async () => / name=waiter .* cmd=blpop /.test(await main.command<string>('CLIENT', 'LIST'));
        while (!(await waits())) await new Promise((resolve) => setImmediate(resolve));
        await worker.terminate();
        while (await waits()) await new Promise((resolve) => setImmediate(resolve));
        await main.command('RPUSH', 'jobs', 'one');
        emit(await main.command('LRANGE', 'jobs', 0, -1));
        await main.disconnect();
      },
      // Far less than the deadline of a command: nothing but the end of the thread ends the wait.
      { args: args(), timeoutMs: 4_000 },
    );
    expect(ended).toMatchObject({ code: 0, lines: [['one']], stderr: '' });
  });

  it('come and go in storms, each with its own connection, some terminated before they are ready', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args, require }) => {
        const { Worker } = require('node:worker_threads') as typeof import('node:worker_threads');
        const main = new redis.RedisConnectionManager(args.url);
        await main.connect();
        const code = `
          const { RedisConnectionManager } = require('redis-backplane');
          const { parentPort } = require('node:worker_threads');
          const manager = new RedisConnectionManager(${JSON.stringify(args.url)});
          Promise.all(Array.from({ length: 50 }, (_, i) => manager.command('INCR', 'storm'))).then(() => parentPort.postMessage('done'));`;
        let finished = 0;
        for (let wave = 0; wave < 5; wave += 1) {
          const workers = Array.from({ length: 10 }, () => new Worker(code, { eval: true }));
          await Promise.all(
            workers.map(async (worker, i) => {
              if (i % 3 === 0) {
                await new Promise((resolve) => setTimeout(resolve, i * 3));
                await worker.terminate();
                return;
              }
              // Left alone, a worker whose connection is idle ends by itself.
              const [code] = await new Promise<[number]>((resolve, reject) => {
                worker.once('error', reject).once('exit', (code) => resolve([code]));
              });
              if (code === 0) finished += 1;
            }),
          );
        }
        emit({ finished, counted: (await main.command<number>('INCRBY', 'storm', 0)) >= finished * 50 });
      },
      { args: args(), timeoutMs: 60_000 },
    );
    expect(ended).toMatchObject({ code: 0, lines: [{ finished: 30, counted: true }], stderr: '' });
    await expectNoClients(server);
  }, 70_000);
});

describe('the package loaded more than once', () => {
  it('works twice in one thread, each copy with its own managers', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args, require }) => {
        const first = new redis.RedisConnectionManager(args.url);
        await first.connect();
        for (const name of Object.keys(require.cache)) if (!name.endsWith('.node')) delete require.cache[name];
        const again = require('redis-backplane') as typeof redis;
        const second = new again.RedisConnectionManager(args.url);
        emit(again.RedisConnectionManager === redis.RedisConnectionManager);
        emit(await Promise.all([first.command('ECHO', 'first'), second.command('ECHO', 'second')]));
        const error = await second.command('INCR').catch((e: unknown) => e);
        emit([error instanceof redis.RedisError, error instanceof again.RedisError]);
        await Promise.all([first.disconnect(), second.disconnect()]);
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 0, lines: [false, ['first', 'second'], [true, true]], stderr: '' });
  });

  it('works in a VM context whose globals are others, as in Jest, and after that context is gone', async () => {
    const ended = await runProcess<{ url: string; root: string }>(
      async ({ emit, args, require }) => {
        const vm = require('node:vm') as typeof import('node:vm');
        const { readFileSync } = require('node:fs') as typeof import('node:fs');
        const path = require('node:path') as typeof import('node:path');
        const results: unknown[] = [];
        for (let round = 0; round < 3; round += 1) {
          const context = vm.createContext({
            process,
            Buffer,
            setTimeout,
            clearTimeout,
            setImmediate,
            queueMicrotask,
            performance,
            console,
          });
          const modules = new Map<string, { exports: unknown }>();
          const load = (file: string): unknown => {
            const known = modules.get(file);
            if (known) return known.exports;
            if (file.endsWith('.json')) return JSON.parse(readFileSync(file, 'utf8'));
            const module = { exports: {} };
            modules.set(file, module);
            const wrapper = vm.runInContext(
              `(function (module, exports, require, __dirname, __filename) {${readFileSync(file, 'utf8')}\n})`,
              context,
            );
            wrapper(
              module,
              module.exports,
              (name: string) => (/^\.\.?\/.*\.js(on)?$/.test(name) ? load(path.join(path.dirname(file), name)) : require(name)),
              path.dirname(file),
              file,
            );
            return module.exports;
          };
          const { RedisConnectionManager, RedisError } = load(path.join(args.root, 'dist/index.js')) as typeof import('redis-backplane');
          const manager = new RedisConnectionManager(args.url);
          const error = await manager.command('INCR').catch((e: unknown) => e);
          const ContextError = vm.runInContext('Error', context);
          results.push([await manager.command('ECHO', 'hi'), error instanceof RedisError, error instanceof ContextError]);
          if (round < 2) await manager.disconnect();
        }
        emit(results);
      },
      { args: { ...args(), root: PACKAGE_ROOT } },
    );
    expect(ended).toMatchObject({ code: 0, lines: [Array(3).fill(['hi', true, true])], stderr: '' });
  });
});
