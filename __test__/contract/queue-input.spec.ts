/** Bad input is refused at once, by name. */
import { type JobOptions, RedisConnectionManager, TaskQueue, TaskWorker } from 'redis-backplane';
import { expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { thrown, useQueues } from '../support/queues.ts';

const NOT_WHOLE = [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e21, '1', true, null, {}, [], 1n];

describeBackends('task queue: bad input', (backend) => {
  const queues = useQueues(backend);

  test('names of queues and their options', () => {
    const manager = backend.manager();
    for (const name of ['', 'a{b', 'a}b', 'a\nb', '\0', 'x'.repeat(513), 1, null, undefined, {}]) {
      const error = thrown(() => new TaskQueue(name as string, manager));
      expect([name, error.redisErrorKind]).toEqual([name, 'config']);
      expect(error.message).toMatch(/name/);
    }
    for (const connection of [undefined, null, 'redis://x', 1]) {
      expect(thrown(() => new TaskQueue('q', connection as never)).message).toMatch(
        /^TaskQueue: connection: expected a RedisConnectionManager or a RedisConfig/,
      );
    }
    expect(thrown(() => new TaskQueue('q', { url: 'nonsense://' })).redisErrorKind).toBe('config');
    expect(thrown(() => new TaskQueue('q', { prot: 1 } as never)).message).toMatch(/prot/);
    expect(thrown(() => new TaskQueue('q', manager, { prefix: 'x' } as never)).message).toMatch(/prefix/);
    expect(thrown(() => new TaskQueue('q', manager, { namespace: 'a\nb' })).message).toMatch(/namespace/);
    expect(thrown(() => new TaskQueue('q', manager, 1 as never)).message).toMatch(/options/);
    expect(thrown(() => new TaskQueue('q', manager, { defaultJobOptions: 1 as never })).message).toMatch(/defaultJobOptions/);
    expect(thrown(() => new TaskQueue('q', manager, { defaultJobOptions: { attempts: 0 } })).message).toMatch(/attempts/);
    expect(thrown(() => new TaskQueue('q', manager, { defaultJobOptions: { attemps: 1 } as never })).message).toMatch(/attemps/);
  });

  test('options of jobs', async () => {
    const queue = queues.queue();
    const bad: Record<string, unknown[]> = {
      id: ['', 'x'.repeat(513), 'a\nb', '\0', '\ud800', 1, {}, null],
      delayMs: NOT_WHOLE,
      priority: [...NOT_WHOLE, 2_097_152],
      lifo: [1, 'true', null],
      attempts: [0, ...NOT_WHOLE],
      backoff: [
        1,
        'fixed',
        {},
        { type: 'linear', delayMs: 1 },
        { type: 'fixed' },
        { type: 'fixed', delayMs: -1 },
        { type: 'fixed', delayMs: 1, jitter: 2 },
        { type: 'fixed', delayMs: 1, maxDelayMs: 'x' },
        { type: 'fixed', delayMs: 1, delay: 1 },
      ],
      timeoutMs: [0, ...NOT_WHOLE],
      keepCompleted: [1, 'x', { count: -1 }, { ageMs: 1.5 }, { age: 1 }, null],
      keepFailed: [{ count: '1' }, []],
      dedupe: [1, {}, { id: '' }, { id: 'x', ttlMs: -1 }, { id: 'x', replace: 1 }, { id: 'x', ttl: 1 }],
      group: ['', 1, 'x'.repeat(513), 'a\nb'],
      corrId: [1, {}],
      children: [{}, 1],
      repeat: [{}],
      attempt: [1],
    };
    for (const [option, values] of Object.entries(bad)) {
      for (const value of values) {
        const error = await failureOf(queue.add('x', 1, { [option]: value } as JobOptions)).catch((cause) => {
          throw new Error(`${option}: ${String(JSON.stringify(typeof value === 'bigint' ? 'a BigInt' : value))} was taken`, { cause });
        });
        expect([option, value, error.redisErrorKind]).toEqual([option, value, 'config']);
        expect(error.message).toMatch(new RegExp(`\\b${option}\\b`));
        expect(error.delivery).toBe('not-sent');
      }
    }
    for (const options of [1, 'x', null, []]) expect((await failureOf(queue.add('x', 1, options as never))).message).toMatch(/options/);
    expect((await failureOf(queue.add('x', 1, { lifo: true, priority: 1 }))).message).toMatch(/lifo[\s\S]*priority|priority[\s\S]*lifo/);
    expect(await queue.counts()).toMatchObject({ waiting: 0, delayed: 0 });
    // What is not given, and what says nothing, is no contradiction.
    await queue.add('x', 1, { lifo: false, priority: 3, id: undefined, backoff: undefined });
    await queue.add('x', 1, { lifo: true, priority: 0 });
    const shared = { count: 3 };
    await queue.add('x', 1, { keepCompleted: shared, keepFailed: shared });
    expect(await queue.counts()).toMatchObject({ waiting: 3 });
  });

  test('defaults are under what a job says itself', async () => {
    const queue = queues.queue('work', { defaultJobOptions: { attempts: 3, backoff: { type: 'fixed', delayMs: 5 }, delayMs: 3_600_000 } });
    const defaults = { attempts: 3, backoff: { type: 'fixed', delayMs: 5 }, delayMs: 3_600_000 };
    expect(await queue.add('x', 1)).toMatchObject({ options: defaults, state: 'delayed' });
    expect(await queue.add('x', 1, { attempts: 1, delayMs: undefined })).toMatchObject({
      options: { ...defaults, attempts: 1 },
      state: 'delayed',
    });
    expect(await queue.add('x', 1, { delayMs: 0 })).toMatchObject({ options: { ...defaults, delayMs: 0 }, state: 'waiting' });
    expect(await queue.counts()).toMatchObject({ waiting: 1, delayed: 2 });
    const [waiting] = await queue.list('waiting');
    expect(waiting?.options).toEqual({ ...defaults, delayMs: 0 });
  });

  test('names and data of jobs', async () => {
    const queue = queues.queue();
    for (const name of ['', 'x'.repeat(513), 1, null, undefined, {}]) {
      const error = await failureOf(queue.add(name as string, 1));
      expect([name, error.redisErrorKind]).toEqual([name, 'config']);
      expect(error.message).toMatch(/name/);
    }
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    for (const data of [undefined, () => {}, Symbol('s'), 1n, Number.NaN, cyclic, { toJSON: () => undefined }]) {
      const error = await failureOf(queue.add('x', data));
      expect(error.redisErrorKind).toBe('serialization');
      expect(error.message).toMatch(/^TaskQueue\.add: data: expected a value that JSON can express/);
    }
    const large = await failureOf(queue.add('x', 'x'.repeat(16 * 1024 * 1024)));
    expect(large.message).toMatch(/data/);
    expect(large.message.length).toBeLessThan(300);
    expect(await queue.counts()).toMatchObject({ waiting: 0 });
  });

  test('processors and options of workers', () => {
    const queue = queues.queue();
    for (const processor of [undefined, null, 'x', {}, Promise.resolve()]) {
      const error = thrown(() => queue.process(processor as never));
      expect(error.redisErrorKind).toBe('config');
      expect(error.message).toMatch(/^TaskQueue\.process: processor: expected a function/);
    }
    const bad: Record<string, unknown[]> = {
      concurrency: [0, 10_001, ...NOT_WHOLE],
      leaseMs: [999, 2 ** 31, ...NOT_WHOLE],
      maxStalls: [1_001, ...NOT_WHOLE],
      rateLimit: [1, {}, { max: 1 }, { max: 0, perMs: 1 }, { max: 1, perMs: 0 }, { max: 1, perMs: 1, per: 1 }],
      groupConcurrency: [0, ...NOT_WHOLE],
      autorun: [1, 'x', null],
      registry: [1, {}, null, { register() {} }],
      lockDuration: [1],
    };
    for (const [option, values] of Object.entries(bad)) {
      for (const value of values) {
        const error = thrown(() => queue.process(() => {}, { [option]: value } as never));
        expect([option, error.redisErrorKind]).toEqual([option, 'config']);
        expect(error.message).toMatch(new RegExp(`\\b${option}\\b`));
      }
    }
    expect(TaskWorker.prototype.run).toBeTypeOf('function');
  });

  test('arguments of everything else', async () => {
    const queue = queues.queue();
    const job = await queue.add('x', 1);
    const calls: [() => Promise<unknown>, RegExp][] = [
      [() => queue.getJob(1 as never), /id/],
      [() => queue.getJob(''), /id/],
      [() => queue.list('waitin' as never), /state/],
      [() => queue.list(1 as never), /state/],
      [() => queue.list('waiting', { start: -1 }), /start/],
      [() => queue.list('waiting', { limit: -1 }), /limit/],
      [() => queue.list('waiting', { limit: 1.5 }), /limit/],
      [() => queue.list('waiting', { newestFirst: 1 as never }), /newestFirst/],
      [() => queue.list('waiting', { end: 1 } as never), /end/],
      [() => queue.drain({ delayed: 1 as never }), /delayed/],
      [() => queue.drain(true as never), /options/],
      [() => queue.clean('waiting' as never), /state/],
      [() => queue.clean('completed', { olderThanMs: -1 }), /olderThanMs/],
      [() => queue.clean('completed', { limit: 0.5 }), /limit/],
      [() => queue.retryFailed({ limit: -1 }), /limit/],
      [() => queue.obliterate({ force: 'x' as never }), /force/],
      [() => job.changeDelay(-1), /changeDelay/],
      [() => job.changeDelay('1' as never), /changeDelay/],
      [() => job.changePriority(2_097_152), /changePriority/],
      [() => job.changePriority(0.5), /changePriority/],
      [() => job.log(1 as never), /line/],
      [() => job.log('x'.repeat(65_537)), /line/],
      [() => job.cancel(1 as never), /reason/],
      [() => job.waitUntilFinished({ timeoutMs: -1 }), /timeoutMs/],
      [() => job.waitUntilFinished({ signal: {} as never }), /signal/],
      [() => job.waitUntilFinished({ ttl: 1 } as never), /ttl/],
      [() => queue.schedule('', { everyMs: 1_000 }, { name: 'x', data: 1 }), /id/],
      [() => queue.schedule('s', {} as never, { name: 'x', data: 1 }), /when|everyMs|cron/],
      [() => queue.schedule('s', 'x' as never, { name: 'x', data: 1 }), /when/],
      [() => queue.schedule('s', { everyMs: 0 }, { name: 'x', data: 1 }), /everyMs/],
      [() => queue.schedule('s', { everyMs: 1.5 }, { name: 'x', data: 1 }), /everyMs/],
      [() => queue.schedule('s', { everyMs: 1, cron: '* * * * *' } as never, { name: 'x', data: 1 }), /everyMs|cron/],
      [() => queue.schedule('s', { cron: '* * * *' }, { name: 'x', data: 1 }), /cron/],
      [() => queue.schedule('s', { cron: '61 * * * *' }, { name: 'x', data: 1 }), /cron/],
      [() => queue.schedule('s', { cron: '* * * * *', tz: 'Mars/Olympus' }, { name: 'x', data: 1 }), /tz/],
      [() => queue.schedule('s', { cron: '* * * * *', zone: 'UTC' } as never, { name: 'x', data: 1 }), /zone/],
      [() => queue.schedule('s', { everyMs: 1_000 }, undefined as never), /job/],
      [() => queue.schedule('s', { everyMs: 1_000 }, { name: '', data: 1 }), /name/],
      [() => queue.schedule('s', { everyMs: 1_000 }, { name: 'x', data: 1, opts: {} } as never), /opts/],
      [() => queue.schedule('s', { everyMs: 1_000 }, { name: 'x', data: 1, options: { id: 'fixed' } }), /id/],
    ];
    for (const [call, message] of calls) {
      const error = await failureOf(call()).catch((cause) => {
        throw new Error(`${call}: ${message} was taken`, { cause });
      });
      expect([String(call), error.redisErrorKind]).toEqual([String(call), 'config']);
      expect(error.message).toMatch(message);
    }
    expect((await failureOf(queue.schedule('s', { everyMs: 1_000 }, { name: 'x', data: undefined }))).redisErrorKind).toBe('serialization');
    expect(await queue.schedules()).toEqual([]);
  });

  test('a bad cron line is named with the position of the error', async () => {
    const queue = queues.queue();
    const position = async (cron: string) => {
      const { message } = await failureOf(queue.schedule('s', { cron }, { name: 'x', data: 1 }));
      return Number(/(?:position|character|column|at) (\d+)/.exec(message)?.[1] ?? Number.NaN);
    };
    for (const cron of ['0 99 * * *', '0 0 * * MOO', '*/0 * * * *', '0 0 32 1 *']) expect(await position(cron)).toBeGreaterThanOrEqual(0);
  });

  test('nothing is retained of managers that a refused constructor made', () => {
    expect(thrown(() => new TaskQueue('a{', { url: 'memory://never' })).redisErrorKind).toBe('config');
    expect(new RedisConnectionManager('memory://never').state).toBe('idle');
  });
});
