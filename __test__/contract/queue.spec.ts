/** Jobs as producers and administrators see them: added, looked at, changed, removed. */
import { type JobOptions, RedisConnectionManager, RedisError, TaskQueue } from 'redis-backplane';
import { describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { gate, reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

const EMPTY = { waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0, 'waiting-children': 0 };

describeBackends('task queue', (backend) => {
  const queues = useQueues(backend);
  const now = async () => {
    const [seconds, micros] = await backend.manager().command<[string, string]>('TIME');
    return Number(seconds) * 1_000 + Number(micros) / 1_000;
  };

  describe('a job', () => {
    test('shows what it was added with, from add() and from getJob()', async () => {
      const queue = queues.queue();
      const before = await now();
      const data = { to: 'someone', nested: [1, null, 'ü'], when: new Date(0) };
      const options: JobOptions = { id: 'mail-1', attempts: 3, backoff: { type: 'fixed', delayMs: 10 }, corrId: 'c-1' };
      const added = await queue.add('mail', data, options);
      const read = await queue.getJob('mail-1');
      for (const job of [added, read]) {
        expect(job?.id).toBe('mail-1');
        expect(job?.name).toBe('mail');
        expect(job?.data).toEqual({ ...data, when: '1970-01-01T00:00:00.000Z' });
        expect(job?.options).toEqual(options);
        expect(job?.state).toBe('waiting');
        expect(job?.attemptsMade).toBe(0);
        expect(job?.stalledCount).toBe(0);
        expect(job?.stacktrace).toEqual([]);
        for (const absent of [job?.progress, job?.result, job?.failedReason, job?.startedAt, job?.finishedAt])
          expect(absent).toBeUndefined();
        expect(job?.addedAt).toBeGreaterThanOrEqual(Math.floor(before));
        expect(job?.addedAt).toBeLessThanOrEqual(await now());
      }
      expect(JSON.parse(JSON.stringify(read))).toMatchObject({ id: 'mail-1', name: 'mail', state: 'waiting', options });
    });

    test('has an id of its own where none is given, and an unknown id has no job', async () => {
      const queue = queues.queue();
      const jobs = await Promise.all(Array.from({ length: 50 }, (_, n) => queue.add('n', n)));
      expect(new Set(jobs.map((job) => job.id)).size).toBe(50);
      expect(await queue.getJob('nobody')).toBeNull();
      expect(await queue.counts()).toEqual({ ...EMPTY, waiting: 50 });
    });

    test('of an id that exists is the existing one, changed in nothing', async () => {
      const queue = queues.queue<{ n: number }>();
      await queue.add('first', { n: 1 }, { id: 'a', priority: 5 });
      const again = await queue.add('second', { n: 2 }, { id: 'a', delayMs: 60_000 });
      expect(again).toMatchObject({ id: 'a', name: 'first', data: { n: 1 }, options: { id: 'a', priority: 5 }, state: 'waiting' });
      const [bulk, other] = await queue.addBulk([
        { name: 'third', data: { n: 3 }, options: { id: 'a' } },
        { name: 'fourth', data: { n: 4 }, options: { id: 'b' } },
      ]);
      expect(bulk).toMatchObject({ name: 'first', data: { n: 1 } });
      expect(other).toMatchObject({ name: 'fourth', data: { n: 4 } });
      expect(await queue.counts()).toEqual({ ...EMPTY, waiting: 2 });
      const worker = queue.process(() => 'done');
      await reaches(queue as TaskQueue, { completed: 2 });
      await worker.close();
      expect(await queue.add('fifth', { n: 5 }, { id: 'a' })).toMatchObject({ name: 'first', state: 'completed', result: 'done' });
      expect(await queue.counts()).toEqual({ ...EMPTY, completed: 2 });
    });

    test('added by many callers at once under one id is added once', async () => {
      const all = Array.from({ length: 4 }, () => queues.queue());
      const jobs = await Promise.all(
        all.flatMap((queue, q) => Array.from({ length: 25 }, (_, n) => queue.add(`${q}.${n}`, null, { id: 'one' }))),
      );
      expect(new Set(jobs.map((job) => job.name)).size).toBe(1);
      expect(await all[0]?.counts()).toEqual({ ...EMPTY, waiting: 1 });
    });

    test('has any id, name and data that are well-formed', async () => {
      const queue = queues.queue();
      const texts = [
        'a:b',
        'a b',
        '*?[x]\\',
        '__proto__',
        'constructor',
        '~wait',
        '{}',
        '🚀',
        '1',
        '-1',
        '0x10',
        'null',
        'a|b',
        '%d %s',
        'x'.repeat(512),
        '日'.repeat(170),
      ];
      for (const text of texts) {
        const job = await queue.add(text, { [text]: text }, { id: text, group: text, corrId: text });
        const read = await queue.getJob(text);
        expect([job.id, read?.id, read?.name]).toEqual([text, text, text]);
        expect(JSON.stringify(read?.data)).toBe(JSON.stringify({ [text]: text }));
        expect(read?.options).toEqual({ id: text, group: text, corrId: text });
      }
      const seen: string[] = [];
      const worker = queue.process((job) => void seen.push(job.id), { concurrency: 5 });
      await reaches(queue, { completed: texts.length });
      await worker.close();
      expect(seen.sort()).toEqual([...texts].sort());
      for (const text of texts) expect(await (await queue.getJob(text))?.remove()).toBe(true);
      expect(await queue.counts()).toEqual(EMPTY);
    });

    test('keeps hostile data as it is', async () => {
      const queue = queues.queue();
      let deep: unknown = 'end';
      for (let depth = 0; depth < 1_000; depth++) deep = [deep];
      const values = [
        JSON.parse('{"__proto__":{"polluted":true},"constructor":1}'),
        '\u0000\r\n\u2028',
        '\ud800 alone',
        deep,
        'x'.repeat(1_000_000),
        [],
        {},
        null,
        '',
        0,
        false,
        -1.5e-7,
        Number.MAX_SAFE_INTEGER,
        [1e21, 'null', '\\u0000'],
      ];
      const seen = new Map<string, string>();
      const worker = queue.process((job) => {
        seen.set(job.id, JSON.stringify(job.data));
        return job.data;
      });
      const jobs = await Promise.all(values.map((value) => queue.add('x', value)));
      await reaches(queue, { completed: values.length });
      await worker.close();
      for (const [i, job] of jobs.entries()) {
        const text = JSON.stringify(values[i]);
        const read = await queue.getJob(job.id);
        expect([seen.get(job.id), JSON.stringify(read?.data), JSON.stringify(read?.result)]).toEqual([text, text, text]);
      }
      expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    });

    test('can be changed: data, progress, log', async () => {
      const queue = queues.queue<unknown>();
      const job = await queue.add('x', { step: 1 });
      await job.updateData({ step: 2 });
      await job.updateProgress({ percent: 50 });
      expect([job.data, job.progress]).toEqual([{ step: 2 }, { percent: 50 }]);
      expect(await job.log('one')).toBe(1);
      expect(await job.log('two\nlines')).toBe(2);
      expect(await job.logs()).toEqual(['one', 'two\nlines']);
      const read = await queue.getJob(job.id);
      expect([read?.data, read?.progress]).toEqual([{ step: 2 }, { percent: 50 }]);
      expect((await failureOf(job.updateProgress(undefined))).redisErrorKind).toBe('serialization');
      expect((await failureOf(job.updateData(1n))).redisErrorKind).toBe('serialization');
      for (let n = 3; n <= 1_005; n++) void job.log(`line ${n}`);
      expect(await job.log('last')).toBe(1_000);
      const lines = await job.logs();
      expect([lines.length, lines[0], lines.at(-1)]).toEqual([1_000, 'line 7', 'last']);
      await job.remove();
      expect(await job.logs()).toEqual([]);
    });

    test('is read again by refresh(), in place', async () => {
      const queue = queues.queue();
      const job = await queue.add('x', 1);
      const worker = queue.process(() => ({ ok: true }));
      await reaches(queue, { completed: 1 });
      await worker.close();
      expect(job.state).toBe('waiting');
      expect(await job.refresh()).toBe(job);
      expect(job).toMatchObject({ state: 'completed', result: { ok: true }, attemptsMade: 1 });
      expect(job.finishedAt).toBeGreaterThanOrEqual(job.startedAt as number);
      expect(job.startedAt).toBeGreaterThanOrEqual(job.addedAt);
      await job.remove();
      expect(await job.refresh()).toBeNull();
      expect(job.state).toBe('completed');
    });

    test('is delayed, promoted, put off and given another priority', async () => {
      const queue = queues.queue();
      const job = await queue.add('x', 1, { delayMs: 3_600_000 });
      expect(job.state).toBe('delayed');
      expect((await queue.getJob(job.id))?.state).toBe('delayed');
      await job.changeDelay(7_200_000);
      expect(await queue.counts()).toEqual({ ...EMPTY, delayed: 1 });
      await job.promote();
      expect(await queue.counts()).toEqual({ ...EMPTY, waiting: 1 });
      expect((await failureOf(job.promote())).message).toMatch(/Job\.promote: expected a delayed job, got one that is waiting/);
      await job.changeDelay(3_600_000);
      expect(await queue.counts()).toEqual({ ...EMPTY, delayed: 1 });
      await job.changePriority(3);
      await job.promote();
      const urgent = await queue.add('urgent', 1, { priority: 2 });
      const later = await queue.add('later', 1, { priority: 4 });
      expect((await queue.list('waiting')).map(({ id }) => id)).toEqual([urgent.id, job.id, later.id]);
      await later.changePriority(0);
      expect((await queue.list('waiting')).map(({ id }) => id)).toEqual([later.id, urgent.id, job.id]);
    });

    test('that is gone or in another state refuses what is not for it, kind config', async () => {
      const queue = queues.queue();
      const gone = await queue.add('x', 1);
      expect(await gone.remove()).toBe(true);
      expect(await gone.remove()).toBe(false);
      const calls = [
        () => gone.updateData(2),
        () => gone.updateProgress(2),
        () => gone.log('x'),
        () => gone.retry(),
        () => gone.promote(),
        () => gone.changeDelay(1),
        () => gone.changePriority(1),
        () => gone.waitUntilFinished(),
      ];
      for (const call of calls) expect((await failureOf(call())).redisErrorKind).toBe('config');
      expect(await gone.cancel()).toBe(false);
      const waiting = await queue.add('x', 1);
      expect((await failureOf(waiting.retry())).message).toMatch(/^Job\.retry: expected a failed job, got one that is waiting/);
      const { opened, open } = gate();
      const worker = queue.process(() => opened);
      await reaches(queue, { active: 1 });
      for (const call of [() => waiting.remove(), () => waiting.promote(), () => waiting.changeDelay(1), () => waiting.changePriority(1)]) {
        expect((await failureOf(call())).redisErrorKind).toBe('config');
      }
      open();
      await worker.close();
      expect(await waiting.cancel()).toBe(false);
    });
  });

  describe('addBulk', () => {
    test('adds any number in order, each with its options', async () => {
      const queue = queues.queue<number>();
      const jobs = await queue.addBulk(
        Array.from({ length: 2_500 }, (_, n) => ({ name: `n${n}`, data: n, options: n % 500 === 0 ? { id: `id-${n}` } : undefined })),
      );
      expect(jobs).toHaveLength(2_500);
      expect(jobs.map((job) => job.data)).toEqual(Array.from({ length: 2_500 }, (_, n) => n));
      expect(jobs[1_500]?.id).toBe('id-1500');
      expect(new Set(jobs.map((job) => job.id)).size).toBe(2_500);
      const listed = await queue.list('waiting', { limit: 3_000 });
      expect(listed.map((job) => job.name)).toEqual(jobs.map((job) => job.name));
      expect(await queue.addBulk([])).toEqual([]);
    });

    test('refuses a step with something wrong in it as a whole, naming the job', async () => {
      const queue = queues.queue();
      const good = { name: 'x', data: 1 };
      expect((await failureOf(queue.addBulk([good, { name: 'x', data: undefined }]))).message).toMatch(/jobs\[1\]\.data/);
      expect((await failureOf(queue.addBulk([good, { ...good, options: { attempts: 0 } }]))).message).toMatch(/attempts/);
      expect((await failureOf(queue.addBulk([good, { ...good, options: { id: '' } }]))).message).toMatch(/id/);
      expect((await failureOf(queue.addBulk([good, { ...good, delay: 1 } as never]))).message).toMatch(/delay/);
      expect((await failureOf(queue.addBulk([good, null as never]))).message).toMatch(/jobs\[1\]/);
      expect((await failureOf(queue.addBulk('x' as never))).redisErrorKind).toBe('config');
      expect(await queue.counts()).toEqual(EMPTY);
    });
  });

  describe('list', () => {
    test('gives pages of one or more states, either way round', async () => {
      const queue = queues.queue<number>();
      await queue.addBulk(Array.from({ length: 10 }, (_, n) => ({ name: 'w', data: n })));
      await queue.addBulk([30, 10, 20].map((n) => ({ name: 'd', data: n, options: { delayMs: n * 100_000 } })));
      const data = async (...args: Parameters<typeof queue.list>) => (await queue.list(...args)).map((job) => job.data);
      expect(await data('waiting')).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(await data('waiting', { newestFirst: true, limit: 3 })).toEqual([9, 8, 7]);
      expect(await data('waiting', { start: 8 })).toEqual([8, 9]);
      expect(await data('waiting', { start: 2, limit: 3 })).toEqual([2, 3, 4]);
      expect(await data('waiting', { start: 100 })).toEqual([]);
      expect(await data('delayed')).toEqual([10, 20, 30]);
      expect(await data(['delayed', 'waiting'], { start: 1, limit: 4 })).toEqual([20, 30, 0, 1]);
      expect(await data(['completed', 'failed', 'active', 'waiting-children'])).toEqual([]);
    });

    test('gives active jobs in the order in which they began', async () => {
      const queue = queues.queue<number>();
      const { opened, open } = gate();
      for (let data = 0; data < 12; data++) {
        const job = await queue.add('x', data);
        if (data % 4 === 0) queue.process(() => opened, { concurrency: 4 });
        await until(async () => (await job.refresh())?.state === 'active', { what: 'the job to begin' });
        const at = Date.now();
        await until(() => Date.now() > at, { what: 'the next millisecond' });
      }
      const order = Array.from({ length: 12 }, (_, data) => data);
      expect((await queue.list('active')).map((job) => job.data)).toEqual(order);
      expect((await queue.list('active', { newestFirst: true, start: 2, limit: 5 })).map((job) => job.data)).toEqual([9, 8, 7, 6, 5]);
      open();
    });

    test('gives waiting jobs in the order in which they are served', async () => {
      const queue = queues.queue();
      await queue.add('plain 1', 0);
      await queue.add('plain 2', 0);
      await queue.add('low', 0, { priority: 10 });
      await queue.add('high', 0, { priority: 1 });
      await queue.add('high too', 0, { priority: 1 });
      await queue.add('head', 0, { lifo: true });
      const order = ['head', 'plain 1', 'plain 2', 'high', 'high too', 'low'];
      expect((await queue.list('waiting')).map(({ name }) => name)).toEqual(order);
      const seen: string[] = [];
      queue.process((job) => void seen.push(job.name));
      await reaches(queue, { completed: 6 });
      expect(seen).toEqual(order);
    });
  });

  describe('the whole queue', () => {
    test('is paused and resumed, for every worker', async () => {
      const [admin, other] = [queues.queue(), queues.queue()];
      expect(await admin.isPaused()).toBe(false);
      await admin.pause();
      await admin.pause();
      expect(await other.isPaused()).toBe(true);
      const seen: unknown[] = [];
      other.process((job) => void seen.push(job.data));
      await admin.add('x', 1);
      await until(async () => (await admin.counts()).waiting === 1, { what: 'the job to wait' });
      // A worker that wrongly took it would have within the time of these calls.
      for (let n = 0; n < 50; n++) await admin.isPaused();
      expect(seen).toEqual([]);
      await admin.resume();
      await reaches(admin, { completed: 1 });
      expect(await other.isPaused()).toBe(false);
    });

    test('is drained of waiting jobs, and of delayed ones where that is asked for', async () => {
      const queue = queues.queue();
      for (let n = 0; n < 5; n++) await queue.add('x', n, { priority: n % 2, group: n === 4 ? 'g' : undefined });
      await queue.add('x', 0, { delayMs: 3_600_000 });
      await queue.add('x', 0, { delayMs: 3_600_000 });
      expect(await queue.drain()).toBe(5);
      expect(await queue.counts()).toEqual({ ...EMPTY, delayed: 2 });
      await queue.add('x', 0);
      expect(await queue.drain({ delayed: true })).toBe(3);
      expect(await queue.counts()).toEqual(EMPTY);
      expect(await queue.drain()).toBe(0);
    });

    test('is cleaned of finished jobs, oldest first', async () => {
      const queue = queues.queue<string>();
      const worker = queue.process((job) => {
        if (job.data === 'bad') throw new Error('bad');
      });
      await queue.addBulk(['a', 'b', 'c', 'bad', 'bad'].map((data) => ({ name: data, data })));
      await reaches(queue as TaskQueue, { completed: 3, failed: 2 });
      await worker.close();
      expect(await queue.clean('completed', { olderThanMs: 3_600_000 })).toBe(0);
      expect(await queue.clean('completed', { limit: 1 })).toBe(1);
      expect((await queue.list('completed')).map((job) => job.data)).toEqual(['b', 'c']);
      expect(await queue.clean('completed')).toBe(2);
      expect(await queue.clean('failed', { olderThanMs: 0 })).toBe(2);
      expect(await queue.counts()).toEqual(EMPTY);
    });

    test('has its failed jobs retried', async () => {
      const queue = queues.queue<number>();
      let broken = true;
      queue.process(() => {
        if (broken) throw new Error('not yet');
      });
      await queue.addBulk(Array.from({ length: 5 }, (_, n) => ({ name: 'x', data: n })));
      await reaches(queue as TaskQueue, { failed: 5 });
      broken = false;
      expect(await queue.retryFailed({ limit: 2 })).toBe(2);
      await reaches(queue as TaskQueue, { failed: 3, completed: 2 });
      const [job] = await queue.list('failed');
      expect(job).toMatchObject({ failedReason: 'not yet', attemptsMade: 1, state: 'failed' });
      expect(job?.stacktrace[0]).toMatch(/Error: not yet\n/);
      await job?.retry();
      await reaches(queue as TaskQueue, { failed: 2, completed: 3 });
      expect(await queue.retryFailed()).toBe(2);
      await reaches(queue as TaskQueue, { failed: 0, completed: 5 });
      expect(await queue.retryFailed()).toBe(0);
    });

    test('is obliterated, with active jobs only by force, and leaves no key', async () => {
      const queue = queues.queue();
      const { opened, open } = gate();
      const worker = queue.process(() => opened);
      await queue.add('x', 1, { attempts: 2, corrId: 'c' });
      await queue.add('x', 2, { delayMs: 3_600_000 });
      await queue.add('x', 3, { priority: 4, group: 'g', dedupe: { id: 'd' } });
      await queue.schedule('s', { everyMs: 3_600_000 }, { name: 'x', data: 4 });
      await (await queue.list('delayed'))[0]?.log('line');
      await reaches(queue, { active: 1 });
      expect((await failureOf(queue.obliterate())).redisErrorKind).toBe('config');
      expect((await queue.counts()).waiting).toBe(1);
      await queue.obliterate({ force: true });
      expect(await queue.counts()).toEqual(EMPTY);
      expect(await queue.schedules()).toEqual([]);
      open();
      await worker.close();
      const manager = backend.manager();
      const left = await manager.command<string[]>('KEYS', `${backend.namespace}*`);
      expect(left).toEqual([]);
    });

    test('tells who listens, or waits for a job, that it is obliterated', async () => {
      const queue = queues.queue('told');
      const gaps: unknown[] = [];
      const completed: string[] = [];
      queue.on('gap', (gap) => gaps.push(gap)).on('completed', ({ jobId }) => completed.push(jobId));
      await queue.ready();
      const waiting = failureOf((await queue.add('x', 1, { id: 'old' })).waitUntilFinished());
      const other = queues.queue('told');
      await other.obliterate();
      expect((await waiting).redisErrorKind).toBe('config');
      await until(() => gaps.length > 0, { what: 'the gap' });
      queue.process(() => null);
      await Promise.all(['a', 'b', 'c'].map((id) => other.add('x', 1, { id })));
      await until(() => completed.length === 3, { what: 'what happens in the queue afterwards' });
      await queue.close();
      await other.obliterate();
      expect(await backend.manager().command<string[]>('KEYS', `${backend.namespace}*`)).toEqual([]);
    });

    test('is apart from queues of other names and namespaces on the same manager', async () => {
      const manager = backend.manager();
      const all = [
        new TaskQueue('a', manager),
        new TaskQueue('b', manager),
        new TaskQueue('a', manager, { namespace: 'inner' }),
        new TaskQueue('a:b', manager),
      ];
      for (const [n, queue] of all.entries()) await queue.add('x', n, { id: 'same' });
      for (const [n, queue] of all.entries()) {
        expect(await queue.counts()).toEqual({ ...EMPTY, waiting: 1 });
        expect((await queue.getJob('same'))?.data).toBe(n);
      }
      await Promise.all(all.map((queue) => queue.close()));
      expect(manager.isConnected()).toBe(true);
    });
  });

  describe('a queue object', () => {
    test('has a manager of its own where it is given a configuration, closed with it', async () => {
      const queue = new TaskQueue('own', { url: backend.url, namespace: backend.namespace });
      expect((await queue.add('x', 1)).state).toBe('waiting');
      await queue.close();
      if (backend.server) expect((await backend.server.clients()).length).toBe(0);
    });

    test('is closed once, by any of its names, and refuses everything after', async () => {
      const queue = queues.queue();
      await queue.add('x', 1);
      await Promise.all([queue.close(), queue.close(), queue.cleanup(), queue[Symbol.asyncDispose]()]);
      for (const call of [
        () => queue.add('x', 2),
        () => queue.counts(),
        () => queue.pause(),
        () => queue.getJob('1'),
        () => queue.addBulk([{ name: 'x', data: 1 }]),
      ]) {
        expect((await failureOf(call())).redisErrorKind).toBe('closed');
      }
      expect(() => queue.process(() => {})).toThrow(RedisError);
      expect(() => queue.on('added', () => {})).toThrow(RedisError);
    });

    test('closes its workers, gracefully', async () => {
      const queue = queues.queue();
      const { opened, open } = gate();
      const begun = gate();
      const worker = queue.process(async () => {
        begun.open();
        await opened;
        return 'done';
      });
      const job = await queue.add('x', 1);
      await begun.opened;
      const closing = queue.close();
      open();
      await closing;
      expect(worker.isRunning()).toBe(false);
      expect((await queues.queue().getJob(job.id))?.result).toBe('done');
    });

    test('may be used by processors in hand until they have ended, though it is being closed', async () => {
      const queue = queues.queue();
      const { opened, open } = gate();
      const begun = gate();
      queue.process(async () => {
        begun.open();
        await opened;
        return (await queue.add('next', 2, { delayMs: 3_600_000 })).id;
      });
      const job = await queue.add('x', 1);
      await begun.opened;
      const closing = queue.close();
      open();
      await closing;
      const after = queues.queue();
      expect((await after.getJob(String((await after.getJob(job.id))?.result)))?.name).toBe('next');
      expect((await failureOf(queue.add('x', 3))).redisErrorKind).toBe('closed');
    });

    test('rejects with kind closed when its manager was disconnected', async () => {
      const manager = new RedisConnectionManager({ url: backend.url, namespace: backend.namespace });
      const queue = new TaskQueue('work', manager);
      await queue.add('x', 1);
      await manager.disconnect();
      expect((await failureOf(queue.add('x', 2))).redisErrorKind).toBe('closed');
    });
  });

  test('a stored job that is damaged is said to be, fails with it, and stops nobody', async () => {
    const queue = queues.queue();
    const jobs = await queue.addBulk(['a', 'b', 'c', 'd'].map((name) => ({ name, data: { name } })));
    const key = `${backend.namespace}:~queue:{work}:jobs`;
    const manager = backend.manager();
    const body = await manager.command<string>('HGET', key, jobs[1]?.id as string);
    // The first loses its shape, the second only the JSON of its data.
    await manager.command(
      'HSET',
      key,
      jobs[0]?.id as string,
      '\u0001\u0002 garbage',
      jobs[1]?.id as string,
      body.replace('{"name":"b"}', '{"name":"b"'),
    );
    expect((await failureOf(queue.getJob(jobs[0]?.id as string))).redisErrorKind).toBe('serialization');
    expect(await queue.list('waiting')).toHaveLength(4);
    const seen: string[] = [];
    const worker = queue.process((job) => void seen.push(job.name));
    await reaches(queue, { completed: 2, failed: 2 });
    expect(seen).toEqual(['c', 'd']);
    const reasons = (await queue.list('failed')).map((job) => job.failedReason);
    for (const reason of reasons) expect(reason).toMatch(/damaged/);
    await worker.close();
  });
});
