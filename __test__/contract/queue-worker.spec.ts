/** Workers: what a processor may do, and what comes of it. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { DelayError, type Job, type JobContext, RedisError, type TaskQueue, UnrecoverableError } from 'redis-backplane';
import { describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { gate, reaches, thrown, useQueues } from '../support/queues.ts';
import { until, within } from '../support/until.ts';

describeBackends('task worker', (backend) => {
  const queues = useQueues(backend);

  /** What became of one job, which `processor` is run on. */
  async function fate(processor: (job: Job, context: JobContext) => unknown, options = {}): Promise<Job> {
    const queue = queues.queue();
    queue.process(processor);
    const job = await queue.add('x', 1, options);
    await until(async () => ['completed', 'failed'].includes((await job.refresh())?.state ?? ''), { what: 'the job to be over' });
    return job;
  }

  describe('a processor', () => {
    test('is given the job and its context', async () => {
      const queue = queues.queue<{ n: number }>();
      const seen: unknown[] = [];
      queue.process(async (job, context) => {
        const { id, name, data, options, state, attemptsMade, stalledCount, progress } = job;
        seen.push({ id, name, data, options, state, attemptsMade, stalledCount, progress, attempt: context.attempt });
        seen.push([typeof job.addedAt, typeof job.startedAt, context.signal.aborted, await context.children()]);
      });
      await queue.add('x', { n: 1 }, { id: 'j', corrId: 'c' });
      await reaches(queue as TaskQueue, { completed: 1 });
      const fields = { id: 'j', name: 'x', data: { n: 1 }, options: { id: 'j', corrId: 'c' }, state: 'active' };
      expect(seen).toEqual([
        { ...fields, attemptsMade: 0, stalledCount: 0, progress: undefined, attempt: 1 },
        ['number', 'number', false, {}],
      ]);
    });

    test.each([
      ['a value', () => ({ ok: 1 }), { ok: 1 }],
      ['a promise', async () => [1, 2], [1, 2]],
      ['null', () => null, null],
      ['nothing', () => {}, undefined],
      ['false', () => false, false],
      // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested.
      ['a thenable', () => ({ then: (resolve: (value: string) => void) => resolve('then') }), 'then'],
    ])('that returns %s completes the job with it', async (_, processor, result) => {
      expect(await fate(processor)).toMatchObject({ state: 'completed', result, attemptsMade: 1 });
    });

    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    test.each([
      ['an Error', () => Promise.reject(new TypeError('broken')), /^broken$/],
      [
        'an Error, synchronously',
        () => {
          throw new Error('at once');
        },
        /^at once$/,
      ],
      ['a text', () => Promise.reject('only text'), /^only text$/],
      ['nothing', () => Promise.reject(), /^undefined$/],
      [
        'null',
        () => {
          throw null;
        },
        /^null$/,
      ],
      [
        'an object',
        () => {
          throw { code: 1 };
        },
        /^an object was thrown$/,
      ],
      [
        'an object with a message',
        () => {
          throw { message: 'from elsewhere' };
        },
        /^from elsewhere$/,
      ],
      [
        'a symbol',
        () => {
          throw Symbol('s');
        },
        /^Symbol\(s\)$/,
      ],
      [
        'an object that cannot be read',
        () => {
          throw new Proxy(
            {},
            {
              get() {
                throw new Error('no');
              },
              has() {
                throw new Error('no');
              },
            },
          );
        },
        /cannot be read/,
      ],
      [
        'an error with a lone surrogate',
        () => {
          throw new Error('\ud800');
        },
        /^\ufffd$/,
      ],
      [
        'an error of a megabyte',
        () => {
          throw new Error('x'.repeat(1_000_000));
        },
        /^x{4096}$/,
      ],
    ])('that throws %s fails the job with it', async (_, processor, reason) => {
      const job = await fate(processor as () => unknown);
      expect(job).toMatchObject({ state: 'failed', attemptsMade: 1 });
      expect(job.failedReason).toMatch(reason);
    });

    test.each([
      ['a BigInt', 1n],
      ['a function', () => {}],
      ['a cycle', cyclic],
      ['NaN', Number.NaN],
    ])('that returns %s, which JSON cannot express, fails the job', async (_, value) => {
      const job = await fate(() => value);
      expect(job.state).toBe('failed');
      expect(job.failedReason).toMatch(/^processor: result: expected a value that JSON can express/);
    });

    test('keeps the stacks of the last 10 attempts, causes included', async () => {
      const job = await fate((_, { attempt }) => Promise.reject(new Error(`attempt ${attempt}`, { cause: new Error('deeper') })), {
        attempts: 12,
      });
      expect(job).toMatchObject({ state: 'failed', attemptsMade: 12, failedReason: 'attempt 12' });
      expect(job.stacktrace).toHaveLength(10);
      expect(job.stacktrace[0]).toMatch(/^Error: attempt 3\n[\s\S]*caused by Error: deeper/);
      expect(job.stacktrace[9]).toMatch(/^Error: attempt 12\n/);
    });

    test('runs in the async context in which process() was called, each job for itself', async () => {
      const storage = new AsyncLocalStorage<string>();
      const queue = queues.queue();
      const seen: (string | undefined)[] = [];
      storage.run('the worker', () => {
        queue.process(
          async () => {
            seen.push(storage.getStore());
            storage.enterWith('left behind');
            await null;
          },
          { concurrency: 3 },
        );
      });
      await storage.run('a producer', () => queue.addBulk([1, 2, 3, 4].map((data) => ({ name: 'x', data }))));
      await reaches(queue, { completed: 4 });
      expect(seen).toEqual(Array(4).fill('the worker'));
    });

    test('never runs for more jobs than its concurrency, and for as many where they wait', async () => {
      const queue = queues.queue();
      let inHand = 0;
      let most = 0;
      const all = gate();
      queue.process(
        async () => {
          inHand += 1;
          most = Math.max(most, inHand);
          if (inHand === 7) all.open();
          await all.opened;
          await new Promise((resolve) => setImmediate(resolve));
          inHand -= 1;
        },
        { concurrency: 7 },
      );
      await queue.addBulk(Array.from({ length: 60 }, (_, data) => ({ name: 'x', data })));
      await reaches(queue, { completed: 60 });
      expect(most).toBe(7);
    });

    test('of a job that was added while the worker waited begins within milliseconds', async () => {
      const queue = queues.queue<number>();
      const latencies: number[] = [];
      let begun = gate();
      const worker = queue.process((job) => {
        latencies.push(performance.now() - job.data);
        begun.open();
      });
      for (let n = 0; n < 20; n++) {
        const idle = gate();
        const once = () => idle.open();
        worker.on('idle', once);
        begun = gate();
        await queue.add('x', performance.now());
        await begun.opened;
        await within(5_000, idle.opened, 'idle');
        worker.off('idle', once);
      }
      latencies.sort((a, b) => a - b);
      expect(latencies[10]).toBeLessThan(25);
    });

    test('sees the progress and data that the attempt before left', async () => {
      const queue = queues.queue<{ step: number }>();
      const seen: unknown[] = [];
      queue.process(async (job, { attempt }) => {
        seen.push([attempt, job.data, job.progress]);
        if (attempt === 2) return;
        await job.updateData({ step: 1 });
        await job.updateProgress({ at: 'half' });
        expect([job.data, job.progress]).toEqual([{ step: 1 }, { at: 'half' }]);
        expect(await job.log('line')).toBe(1);
        throw new Error('again');
      });
      const job = await queue.add('x', { step: 0 }, { attempts: 2 });
      await reaches(queue as TaskQueue, { completed: 1 });
      expect(seen).toEqual([
        [1, { step: 0 }, undefined],
        [2, { step: 1 }, { at: 'half' }],
      ]);
      expect(await job.logs()).toEqual(['line']);
    });

    test('may add jobs, wait for others and close queues', async () => {
      const queue = queues.queue<string, string>();
      queue.process(
        async (job) => {
          if (job.data === 'inner') return 'from within';
          const inner = await queue.add('x', 'inner');
          return `got ${await inner.waitUntilFinished()}`;
        },
        { concurrency: 2 },
      );
      expect(await (await queue.add('x', 'outer')).waitUntilFinished()).toBe('got from within');
    });
  });

  describe('retries', () => {
    test('follow the backoff, by the server clock', async () => {
      const queue = queues.queue();
      const starts: number[] = [];
      queue.process((job) => {
        starts.push(job.startedAt as number);
        throw new Error('no');
      });
      await queue.add('x', 1, { attempts: 4, backoff: { type: 'exponential', delayMs: 40, maxDelayMs: 100 } });
      await reaches(queue, { failed: 1 });
      const gaps = starts.slice(1).map((at, i) => at - (starts[i] as number));
      expect(gaps).toHaveLength(3);
      for (const [i, least] of [40, 80, 100].entries()) expect(gaps[i]).toBeGreaterThanOrEqual(least);
      expect(Math.max(...gaps)).toBeLessThan(2_000);
    });

    test('end with UnrecoverableError, whatever attempts are left', async () => {
      const job = await fate(() => Promise.reject(new UnrecoverableError('hopeless', { cause: new Error('why') })), { attempts: 10 });
      expect(job).toMatchObject({ state: 'failed', attemptsMade: 1, failedReason: 'hopeless' });
    });

    test('are not used up by DelayError', async () => {
      let calls = 0;
      const job = await fate((_, { attempt }) => {
        calls += 1;
        expect(attempt).toBe(1);
        if (calls < 4) throw new DelayError(5);
        return calls;
      });
      expect(job).toMatchObject({ state: 'completed', result: 4, attemptsMade: 1 });
      expect(job.failedReason).toBeUndefined();
      for (const bad of [-1, 1.5, Number.NaN, '5', undefined])
        expect(thrown(() => new DelayError(bad as number)).message).toMatch(/^DelayError: delayMs/);
    });

    test('see their children, also through a context that was taken apart', async () => {
      const queue = queues.queue<number, unknown>();
      queue.process((job, { attempt, children, signal }) => (job.name === 'child' ? [attempt, signal.aborted] : children()));
      const children = [{ name: 'child', data: 1, options: { id: 'c' } }];
      expect(await queue.addAndWait('parent', 1, { job: { children } })).toEqual({ c: [1, false] });
    });

    test('do not wait for a clock that was put back: neither for the lease of a dead worker nor for a rate limit', async () => {
      const queue = queues.queue<number, string>();
      const manager = backend.manager();
      const key = (rest: string) => `${backend.namespace}:~queue:{work}:${rest}`;
      const job = await queue.add('x', 1);
      // What a worker left that died before the server's clock was put back by an hour.
      const ahead = String(Date.now() + 3_600_000);
      await manager.command('LPOP', key('wait'));
      await manager.command('HSET', key('run'), job.id, `a|dead.1|0|0|${ahead}|0||\n`);
      await manager.command('SADD', key('held:dead'), job.id);
      await manager.command('ZADD', key('leases'), ahead, 'dead');
      await manager.command('RPUSH', key('rate'), `${ahead} 5`);
      await manager.command('HSET', key('meta'), 'rated', '5', 'longest', '1000');
      queue.process(() => 'done', { leaseMs: 1_000, rateLimit: { max: 5, perMs: 1_000 } });
      expect(await job.waitUntilFinished({ timeoutMs: 15_000 })).toBe('done');
      expect((await job.refresh())?.stalledCount).toBe(1);
    });

    test('and delays may be put off for longer than a 32-bit timer lasts', async () => {
      const days = 100 * 24 * 3_600_000;
      const queue = queues.queue<string>();
      const worker = queue.process((job) => {
        if (job.data === 'put off') throw new DelayError(days);
        throw new Error('no');
      });
      const jobs = [
        await queue.add('x', 'put off'),
        await queue.add('x', 'backs off', { attempts: 2, backoff: { type: 'exponential', delayMs: days } }),
        await queue.add('x', 'delayed', { delayMs: days }),
        await queue.add('x', 'changed', { delayMs: 3_600_000 }),
      ];
      await jobs[3]?.changeDelay(days);
      await reaches(queue as TaskQueue, { delayed: 4, waiting: 0, active: 0 });
      const [seconds, micros] = (await backend.manager().command('TIME')) as [string, string];
      const now = Number(seconds) * 1_000 + Number(micros) / 1_000;
      for (const job of jobs) {
        const due = Number(await backend.manager().command('ZSCORE', `${backend.namespace}:~queue:{work}:delayed`, job.id));
        expect(Math.abs(due - now - days)).toBeLessThan(60_000);
        expect((await job.refresh())?.state).toBe('delayed');
      }
      // A worker that knows of nothing nearer works on what comes.
      const soon = await queue.add('x', 'soon', { delayMs: 5 });
      await expect(soon.waitUntilFinished()).rejects.toThrow('no');
      await worker.close();
    });

    test('forget the reason when the job completes after all', async () => {
      const job = await fate(
        (_, { attempt }) => {
          if (attempt < 3) throw new Error(`no ${attempt}`);
          return 'yes';
        },
        { attempts: 5 },
      );
      expect(job).toMatchObject({ state: 'completed', result: 'yes', attemptsMade: 3 });
      expect(job.stacktrace).toHaveLength(2);
    });
  });

  describe('the signal', () => {
    const untilAborted = (signal: AbortSignal) =>
      new Promise<never>((_, reject) => {
        if (signal.aborted) reject(signal.reason);
        signal.addEventListener('abort', () => reject(signal.reason));
      });

    test('is aborted by the timeout of an attempt, which has failed then', async () => {
      const reasons: RedisError[] = [];
      const job = await fate(
        async (_, { signal, attempt }) => {
          if (attempt === 2) return 'second';
          return untilAborted(signal).catch((reason: RedisError) => {
            reasons.push(reason);
            return 'too late';
          });
        },
        { timeoutMs: 60, attempts: 2 },
      );
      expect(job).toMatchObject({ state: 'completed', result: 'second', attemptsMade: 2 });
      expect(reasons).toHaveLength(1);
      expect(reasons[0]).toBeInstanceOf(RedisError);
      expect(reasons[0]?.redisErrorKind).toBe('timeout');
    });

    test('is aborted by timeout for a processor that never settles; its place is free for the next job', async () => {
      const queue = queues.queue<number>();
      const seen: number[] = [];
      queue.process((job) => {
        seen.push(job.data);
        return new Promise(() => {});
      });
      const jobs = await queue.addBulk([1, 2, 3].map((data) => ({ name: 'x', data, options: { timeoutMs: 30 } })));
      await reaches(queue as TaskQueue, { failed: 3 });
      expect(seen).toEqual([1, 2, 3]);
      await jobs[0]?.refresh();
      expect(jobs[0]?.failedReason).toMatch(/timeoutMs|timed out|took longer/);
    });

    test('is aborted by cancel(), from any process, with the reason', async () => {
      const queue = queues.queue<string>();
      const begun = gate<Job<string>>();
      queue.process(async (job, { signal }) => {
        begun.open(job);
        return untilAborted(signal);
      });
      const job = await queue.add('x', 'a', { attempts: 5 });
      await begun.opened;
      const elsewhere = await queues.queue<string>().getJob(job.id);
      const waiting = job.waitUntilFinished();
      expect(await elsewhere?.cancel('not wanted')).toBe(true);
      await expect(waiting).rejects.toThrow('not wanted');
      await job.refresh();
      expect(job).toMatchObject({ state: 'failed', failedReason: 'not wanted', attemptsMade: 1 });
      expect(await job.cancel()).toBe(false);
    });

    test('after cancel() leaves it to the processor to complete all the same', async () => {
      const queue = queues.queue();
      const begun = gate();
      queue.process(async (_, { signal }) => {
        begun.open();
        return untilAborted(signal).catch((reason: RedisError) => reason.redisErrorKind);
      });
      const job = await queue.add('x', 1);
      await begun.opened;
      await job.cancel();
      expect(await job.waitUntilFinished()).toBe('cancelled');
    });

    test('after cancel() has no further attempt where the timeout ends this one', async () => {
      const queue = queues.queue();
      let runs = 0;
      queue.process(() => {
        runs += 1;
        return new Promise(() => {});
      });
      const job = await queue.add('x', 1, { attempts: 3, timeoutMs: 500 });
      await reaches(queue as TaskQueue, { active: 1 });
      await job.cancel('not wanted');
      await expect(job.waitUntilFinished()).rejects.toThrow('not wanted');
      expect(runs).toBe(1);
    });

    test('of a job that was cancelled before it began never comes to be', async () => {
      const queue = queues.queue();
      const delayed = await queue.add('x', 1, { delayMs: 3_600_000 });
      const waiting = await queue.add('x', 2);
      expect(await delayed.cancel('why not')).toBe(true);
      expect(await waiting.cancel()).toBe(true);
      const seen: unknown[] = [];
      queue.process((job) => void seen.push(job.data));
      await queue.add('x', 3);
      await reaches(queue, { completed: 1, failed: 2 });
      expect(seen).toEqual([3]);
      expect((await delayed.refresh())?.failedReason).toBe('why not');
      expect((await waiting.refresh())?.failedReason).toBe('cancelled');
    });

    test('is aborted when the lease is lost; what is written then changes nothing', async () => {
      const queue = queues.queue();
      const errors: RedisError[] = [];
      const outcome = gate<RedisError>();
      const worker = queue.process(
        async (job, { signal }) => {
          await untilAborted(signal).catch(async () => outcome.open(await failureOf(job.updateProgress('late'))));
          return 'late';
        },
        { leaseMs: 1_000 },
      );
      worker.on('error', (error) => errors.push(error));
      const job = await queue.add('x', 1);
      await reaches(queue, { active: 1 });
      await queue.obliterate({ force: true });
      const refused = await within(15_000, outcome.opened, 'the signal');
      expect(refused.redisErrorKind).toBe('lease-lost');
      expect(await job.refresh()).toBeNull();
      // Whoever watches the worker hears of it, and of which job.
      expect(errors.map((error) => error.redisErrorKind)).toEqual(['lease-lost']);
      expect(errors[0]?.message).toContain(job.id);
    });
  });

  describe('closing', () => {
    test('waits for the jobs in hand and takes no more', async () => {
      const queue = queues.queue<number>();
      const { opened, open } = gate();
      const worker = queue.process(() => opened, { concurrency: 2 });
      await queue.addBulk([1, 2, 3].map((data) => ({ name: 'x', data })));
      await reaches(queue as TaskQueue, { active: 2 });
      const closing = worker.close();
      expect(worker.isRunning()).toBe(false);
      open();
      expect(await closing).toBe(true);
      expect(await worker.close()).toBe(true);
      expect(await queue.counts()).toMatchObject({ completed: 2, waiting: 1, active: 0 });
      for (const call of [() => worker.run(), () => worker.resume()]) expect(thrown(call).redisErrorKind).toBe('closed');
      expect((await failureOf(worker.pause())).redisErrorKind).toBe('closed');
    });

    test('hands back at once what is left after the grace, to the head of the queue', async () => {
      const queue = queues.queue<number>();
      const reasons: unknown[] = [];
      const worker = queue.process(
        (_, { signal }) => {
          signal.addEventListener('abort', () => reasons.push((signal.reason as RedisError).redisErrorKind));
          return new Promise(() => {});
        },
        { concurrency: 2, leaseMs: 60_000 },
      );
      await queue.addBulk([1, 2, 3].map((data) => ({ name: 'x', data, options: { attempts: 1 } })));
      await reaches(queue as TaskQueue, { active: 2 });
      expect(await worker.close({ graceMs: 10 })).toBe(false);
      expect(reasons).toEqual(['closed', 'closed']);
      expect(await queue.counts()).toMatchObject({ waiting: 3, active: 0 });
      const seen: number[][] = [];
      queue.process((job) => void seen.push([job.data, job.attemptsMade, job.stalledCount]));
      await reaches(queue as TaskQueue, { completed: 3 });
      expect(seen.map(([data]) => data).sort()).toEqual([1, 2, 3]);
      expect(seen[2]).toEqual([3, 0, 0]);
      for (const [, attempts, stalls] of seen) expect([attempts, stalls]).toEqual([0, 0]);
    });

    test('takes the shortest of the times that are said while it lasts, of the worker and of the queue', async () => {
      for (const whose of ['worker', 'queue'] as const) {
        const queue = queues.queue<number>(whose);
        const worker = queue.process(() => new Promise(() => {}), { leaseMs: 60_000 });
        await queue.add('x', 1);
        await reaches(queue as TaskQueue, { active: 1 });
        const closing = worker.close();
        const later = { worker, queue }[whose];
        void later.close({ graceMs: 3_600_000 });
        expect((await failureOf(later.close({ graceMs: -1 }))).message).toMatch(/graceMs/);
        const hurried = later.close({ graceMs: 10 });
        expect(await closing).toBe(false);
        await hurried;
        // It has nothing in hand any more.
        await later.close({ graceMs: 0 });
        const looking = queues.queue(whose);
        expect(await looking.counts()).toMatchObject({ waiting: 1, active: 0 });
      }
    });

    test('of a worker without a job, or that never ran, is immediate', async () => {
      const queue = queues.queue();
      const never = queue.process(() => {}, { autorun: false });
      expect(never.isRunning()).toBe(false);
      expect(await never.close()).toBe(true);
      const idle = queue.process(() => {});
      let closed = 0;
      idle.on('closed', () => (closed += 1));
      expect(await idle.close()).toBe(true);
      await idle[Symbol.asyncDispose]();
      expect(closed).toBe(1);
    });

    test('with a bad grace is refused, and nothing is closed', async () => {
      const queue = queues.queue();
      const worker = queue.process(() => 1);
      for (const graceMs of [-1, Number.NaN, '1', 2 ** 31])
        expect((await failureOf(worker.close({ graceMs: graceMs as number }))).message).toMatch(/graceMs/);
      expect((await failureOf(worker.close({ grace: 1 } as never))).message).toMatch(/grace/);
      expect((await failureOf(queue.close({ graceMs: -1 }))).message).toMatch(/graceMs/);
      expect(await (await queue.add('x', 1)).waitUntilFinished()).toBe(1);
    });
  });

  describe('running', () => {
    test('begins with run() where autorun is false, and stands still between pause() and resume()', async () => {
      const queue = queues.queue<number>();
      const seen: number[] = [];
      let { opened, open } = gate();
      const worker = queue.process(
        async (job) => {
          seen.push(job.data);
          await opened;
        },
        { autorun: false },
      );
      await queue.add('x', 1);
      expect([worker.isRunning(), seen]).toEqual([false, []]);
      worker.run();
      worker.run();
      expect(worker.isRunning()).toBe(true);
      await until(() => seen.length === 1, { what: 'the first job' });
      await queue.add('x', 2);
      let paused = false;
      const pausing = worker.pause().then(() => {
        paused = true;
      });
      expect(worker.isRunning()).toBe(false);
      await queue.counts();
      expect(paused).toBe(false);
      open();
      await pausing;
      await reaches(queue as TaskQueue, { completed: 1, waiting: 1, active: 0 });
      ({ opened, open } = gate());
      open();
      worker.resume();
      expect(worker.isRunning()).toBe(true);
      await reaches(queue as TaskQueue, { completed: 2 });
      expect(seen).toEqual([1, 2]);
    });

    test('tells what happens: active, completed, failed, idle', async () => {
      const queue = queues.queue<string>();
      const told: unknown[] = [];
      const worker = queue.process(
        (job) => {
          if (job.data === 'bad') throw new Error('bad');
          return 'fine';
        },
        { autorun: false },
      );
      worker.on('active', (job) => told.push(['active', job.data]));
      worker.on('completed', (job, result) => told.push(['completed', job.data, result]));
      worker.on('failed', (job, error) => told.push(['failed', job.data, (error as Error).message]));
      worker.on('completed', () => {
        throw new Error('a listener that throws is nothing to the others');
      });
      const idle = gate();
      worker.on('idle', () => idle.open());
      const warnings: string[] = [];
      const warned = (warning: Error) => void warnings.push(warning.message);
      process.on('warning', warned);
      await queue.addBulk(['good', 'bad'].map((data) => ({ name: 'x', data })));
      worker.run();
      await idle.opened;
      await reaches(queue as TaskQueue, { completed: 1, failed: 1 });
      await until(() => warnings.length > 0, { what: 'the warning' });
      process.off('warning', warned);
      expect(told).toEqual([
        ['active', 'good'],
        ['completed', 'good', 'fine'],
        ['active', 'bad'],
        ['failed', 'bad', 'bad'],
      ]);
      expect(thrown(() => worker.on('nothing' as never, () => {})).message).toMatch(/TaskWorker\.on: event/);
      expect(thrown(() => worker.on('idle', 1 as never)).message).toMatch(/listener/);
    });

    test('of several workers shares the jobs, each run once', async () => {
      const all = Array.from({ length: 4 }, () => queues.queue<number>());
      const seen = new Map<number, number>();
      for (const queue of all) queue.process((job) => void seen.set(job.data, (seen.get(job.data) ?? 0) + 1), { concurrency: 5 });
      await all[0]?.addBulk(Array.from({ length: 1_000 }, (_, data) => ({ name: 'x', data })));
      await reaches(all[0] as TaskQueue, { waiting: 0, active: 0, completed: 1_000 });
      expect([seen.size, Math.max(...seen.values())]).toEqual([1_000, 1]);
    });

    test('ends when the manager is disconnected', async () => {
      const manager = backend.manager();
      const { TaskQueue } = await import('redis-backplane');
      const queue = new TaskQueue('work', manager);
      const aborted = gate<RedisError>();
      const worker = queue.process(
        (_, { signal }) =>
          new Promise((resolve) => {
            signal.addEventListener('abort', () => {
              aborted.open(signal.reason);
              resolve(1);
            });
          }),
      );
      const closed = gate();
      worker.on('closed', () => closed.open());
      await queue.add('x', 1);
      await reaches(queue, { active: 1 });
      await manager.disconnect();
      expect((await within(5_000, aborted.opened, 'the signal')).redisErrorKind).toBe('closed');
      await within(5_000, closed.opened, 'the event');
      expect(worker.isRunning()).toBe(false);
    });
  });
});
