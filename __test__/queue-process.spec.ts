/** What a queue and its workers do to the process they are in. */
import { TaskQueue } from 'redis-backplane';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { expectNoClients } from './support/leaks.ts';
import { runProcess, startProcess } from './support/process.ts';
import { reaches } from './support/queues.ts';
import { RedisServer } from './support/redis-server.ts';

let server: RedisServer;
let queue: TaskQueue;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  await server.cli('FLUSHALL');
  queue = new TaskQueue('work', { url: server.url });
});
afterEach(async () => {
  await queue.close();
  await expectNoClients(server);
});

const args = () => ({ url: server.url });

describe('a process', () => {
  it('ends by itself when only a queue is left', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const queue = new redis.TaskQueue('work', args);
        emit((await queue.add('x', 1)).state);
        queue.process(() => {}, { autorun: false });
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 0, lines: ['waiting'], stderr: '' });
  });

  it('lives for as long as a worker runs, and ends when that is closed', async () => {
    const child = startProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const queue = new redis.TaskQueue('work', args);
        const worker = queue.process((job) => {
          emit(job.data);
          if (job.data === 'last') worker.close().then(() => queue.close());
        });
        emit('up');
      },
      { args: args() },
    );
    await child.line((line) => line === 'up');
    await queue.add('x', 'first');
    await child.line((line) => line === 'first');
    await queue.add('x', 'last');
    expect(await child.ended).toMatchObject({ code: 0, lines: ['up', 'first', 'last'], stderr: '' });
    await reaches(queue, { completed: 2 });
  });

  it('lives for as long as somebody listens', async () => {
    const child = startProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const queue = new redis.TaskQueue('work', args);
        const listener = ({ jobId }: { jobId: string }) => {
          emit(jobId);
          if (jobId === 'last') queue.off('added', listener);
        };
        queue.on('added', listener);
        await queue.ready();
        emit('up');
      },
      { args: args() },
    );
    await child.line((line) => line === 'up');
    await queue.add('x', 1, { id: 'first' });
    await child.line((line) => line === 'first');
    await queue.add('x', 1, { id: 'last' });
    expect(await child.ended).toMatchObject({ code: 0, lines: ['up', 'first', 'last'], stderr: '' });
  });

  it('ends after disconnect(), whatever ran on the manager', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        const queue = new redis.TaskQueue('work', manager);
        queue.on('added', () => {});
        queue.process(() => new Promise(() => {}));
        const job = await queue.add('x', 1);
        job.waitUntilFinished().catch((error: { redisErrorKind: string }) => emit(error.redisErrorKind));
        while ((await queue.counts()).active === 0);
        await manager.disconnect();
        emit('disconnected');
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect([...ended.lines].sort()).toEqual(['closed', 'disconnected']);
  });

  it('is not ended by whatever a processor or a listener does', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const queue = new redis.TaskQueue<number>('work', args);
        const unreadable = new Proxy(
          {},
          {
            get() {
              throw new Error('get');
            },
            has() {
              throw new Error('has');
            },
          },
        );
        const deeds: (() => unknown)[] = [
          () => {
            throw new Error('thrown');
          },
          () => {
            throw unreadable;
          },
          () => Promise.reject(unreadable),
          () => Promise.reject(undefined),
          () => unreadable,
          () => ({
            toJSON() {
              throw new Error('toJSON');
            },
          }),
          () => {
            const deeper = (): number => deeper() + 1;
            return deeper();
          },
          () => Symbol('s'),
        ];
        const worker = queue.process((job) => deeds[job.data]?.(), { concurrency: 3 });
        worker.on('failed', () => {
          throw unreadable;
        });
        worker.on('active', () => Promise.reject(unreadable) as never);
        worker.on('idle', () => {
          throw null;
        });
        queue.on('added', () => {
          throw undefined;
        });
        await queue.ready();
        await queue.addBulk(deeds.map((_, data) => ({ name: 'x', data })));
        while ((await queue.counts()).failed < deeds.length);
        emit(await queue.counts());
        await queue.close();
      },
      { args: args() },
    );
    expect(ended.code).toBe(0);
    expect(ended.lines).toMatchObject([{ failed: 8, completed: 0, active: 0 }]);
  });

  it('keeps a worker that nobody keeps, and lets a queue go that nobody keeps', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args }) => {
        const manager = new redis.RedisConnectionManager(args.url);
        const gone: WeakRef<object>[] = [];
        (() => {
          new redis.TaskQueue('work', manager).process((job) => job.data);
          gone.push(new WeakRef(new redis.TaskQueue('idle', manager)));
        })();
        const collect = async () => {
          await new Promise((resolve) => setImmediate(resolve));
          (globalThis as unknown as { gc(): void }).gc();
        };
        for (let n = 0; n < 20 && gone[0]?.deref(); n++) await collect();
        emit(gone[0]?.deref() === undefined);
        const queue = new redis.TaskQueue('work', manager);
        emit(await (await queue.add('x', 'done all the same')).waitUntilFinished());
        await manager.disconnect();
      },
      { args: args(), nodeOptions: ['--expose-gc'] },
    );
    expect(ended).toMatchObject({ code: 0, lines: [true, 'done all the same'], stderr: '' });
  });

  it('may exit, or have its worker thread terminated, with jobs in hand', async () => {
    const ended = await runProcess<{ url: string }>(
      async ({ redis, emit, args, require }) => {
        const { Worker } = require('node:worker_threads') as typeof import('node:worker_threads');
        const thread = new Worker(
          `const { TaskQueue } = require(${JSON.stringify(require.resolve('redis-backplane'))});
           const queue = new TaskQueue('work', ${JSON.stringify(args)});
           queue.process((job) => { require('node:worker_threads').parentPort.postMessage(job.data); return new Promise(() => {}); }, { leaseMs: 1000 });`,
          { eval: true },
        );
        const queue = new redis.TaskQueue('work', args);
        await queue.add('x', 'in hand');
        emit(await new Promise((resolve) => thread.once('message', resolve)));
        await thread.terminate();
        queue.process((job) => {
          emit([job.data, job.stalledCount <= 1]);
          process.exit(0);
        });
      },
      { args: args() },
    );
    expect(ended).toMatchObject({ code: 0, lines: ['in hand', ['in hand', true]], stderr: '' });
  });
});
