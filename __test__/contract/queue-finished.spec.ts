/** What becomes of finished jobs: which of them stay, and who is told how one ended. */
import type { TaskQueue } from 'redis-backplane';
import { describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { failureOf } from '../support/failure.ts';
import { gate, reaches, useQueues } from '../support/queues.ts';
import { until } from '../support/until.ts';

describeBackends('finished jobs', (backend) => {
  const queues = useQueues(backend);

  describe('keep rules', () => {
    test('say which finished jobs stay', async () => {
      const queue = queues.queue<string>('work', { defaultJobOptions: { keepCompleted: { count: 2 }, keepFailed: false } });
      const worker = queue.process((job) => {
        if (job.data === 'bad') throw new Error('bad');
        return job.data;
      });
      for (const data of ['a', 'b', 'c', 'bad']) await queue.add('x', data);
      await reaches(queue as TaskQueue, { completed: 2, waiting: 0, active: 0 });
      expect((await queue.list('completed')).map((job) => job.data)).toEqual(['b', 'c']);
      expect((await queue.counts()).failed).toBe(0);
      const kept = await queue.add('x', 'bad', { keepFailed: true });
      await reaches(queue as TaskQueue, { failed: 1 });
      expect((await queue.getJob(kept.id))?.failedReason).toBe('bad');
      await queue.add('x', 'e', { keepCompleted: { ageMs: 0 } });
      await until(async () => (await queue.list('completed')).every((job) => job.data === 'e'), { what: 'the older ones to go' });
      await worker.close();
    });

    test('keep the newest 1 000 completed jobs where none is given, and at most a twentieth more', async () => {
      const queue = queues.queue<number>();
      queue.process(() => null, { concurrency: 50 });
      const jobs = await queue.addBulk(Array.from({ length: 1_300 }, (_, data) => ({ name: 'x', data })));
      await jobs.at(-1)?.waitUntilFinished();
      await reaches(queue as TaskQueue, { waiting: 0, active: 0 });
      const kept = (await queue.list('completed', { limit: 2_000 })).map((job) => job.data);
      expect(kept.length).toBeGreaterThanOrEqual(1_000);
      expect(kept.length).toBeLessThanOrEqual(1_050);
      expect(kept.sort((a, b) => a - b)).toEqual(Array.from({ length: kept.length }, (_, n) => 1_300 - kept.length + n));
    });
  });

  describe('waitUntilFinished', () => {
    test('gives the result, before and after the job is over', async () => {
      const queue = queues.queue<number, { twice: number } | undefined>();
      const early = await queue.add('x', 1);
      const waiting = early.waitUntilFinished();
      const producer = queues.queue<number, { twice: number } | undefined>();
      const elsewhere = (await producer.getJob(early.id))?.waitUntilFinished();
      queue.process((job) => (job.data === 0 ? undefined : { twice: job.data * 2 }));
      expect(await waiting).toEqual({ twice: 2 });
      expect(await elsewhere).toEqual({ twice: 2 });
      expect(await early.waitUntilFinished()).toEqual({ twice: 2 });
      expect(await (await queue.add('x', 0)).waitUntilFinished()).toBeUndefined();
    });

    test('gives the result of a job that does not stay to who asked before it was done', async () => {
      for (let round = 0; round < 10; round++) {
        const serving = queues.queue<number>(`fleeting-${round}`);
        await serving.pause();
        serving.process((job) => job.data);
        // Of a manager that has subscribed to nothing yet.
        const producer = queues.queue<number>(`fleeting-${round}`);
        const job = await producer.add('x', round, { keepCompleted: false });
        const result = job.waitUntilFinished();
        await producer.counts();
        await serving.resume();
        expect(await result).toBe(round);
        expect(await job.refresh()).toBeNull();
        expect((await failureOf(job.waitUntilFinished())).redisErrorKind).toBe('config');
      }
    });

    test('gives what a job that does not stay returned, nothing and very much too', async () => {
      const queue = queues.queue<unknown, unknown>('values');
      const { opened, open } = gate();
      const values = [undefined, null, 'x'.repeat(70_000), 'y'.repeat(1_000_000)];
      queue.process(async (job) => {
        await opened;
        return values[job.data as number];
      });
      const jobs = await queue.addBulk(values.map((_, data) => ({ name: 'x', data, options: { keepCompleted: false } })));
      const waits = Promise.all(jobs.map((job) => job.waitUntilFinished()));
      await queue.on('completed', () => {}).ready();
      open();
      expect(await waits).toEqual(values);
    });

    test('takes nothing of what became of the job before, or of an earlier one of its id', async () => {
      const queue = queues.queue<number>();
      await queue.on('failed', () => {}).ready();
      for (let round = 0; round < 50; round++) {
        const job = await queue.add('x', 1, { id: 'same', delayMs: 3_600_000 });
        await job.cancel('of old');
        await job.retry();
        const retried = failureOf(job.waitUntilFinished({ timeoutMs: 20 }));
        expect((await retried).redisErrorKind).toBe('timeout');
        await job.remove();
        const anew = await queue.add('x', 1, { id: 'same' });
        expect((await failureOf(anew.waitUntilFinished({ timeoutMs: 20 }))).redisErrorKind).toBe('timeout');
        await anew.remove();
      }
    });

    test('hears of a job that ends while it begins to listen', async () => {
      for (let round = 0; round < 20; round++) {
        const queue = queues.queue<number>(`ending-${round}`);
        const [begun, end] = [gate(), gate()];
        queue.process(async (job) => {
          begun.open();
          await end.opened;
          return job.data;
        });
        const job = await queue.add('x', round);
        await begun.opened;
        // The server has forgotten the script that it listens with, which takes two trips then, and knows the one that reads a job.
        await backend.manager().command('SCRIPT', 'FLUSH');
        await queue.getJob(job.id);
        const result = job.waitUntilFinished({ timeoutMs: 10_000 });
        end.open();
        expect(await result).toBe(round);
      }
    });

    test('rejects with why the job failed', async () => {
      const queue = queues.queue();
      const job = await queue.add('x', 1);
      const waiting = job.waitUntilFinished();
      queue.process(() => Promise.reject(new TypeError('no such thing')));
      const { JobFailedError } = await import('redis-backplane');
      await expect(waiting).rejects.toThrow(JobFailedError);
      await expect(job.waitUntilFinished()).rejects.toMatchObject({ name: 'JobFailedError', message: 'no such thing', jobId: job.id });
    });

    test('ends by its deadline, its signal and the end of the queue', async () => {
      const queue = queues.queue();
      const job = await queue.add('x', 1);
      const late = await failureOf(job.waitUntilFinished({ timeoutMs: 20 }));
      expect(late).toMatchObject({ redisErrorKind: 'timeout', delivery: 'rejected' });
      const controller = new AbortController();
      const waiting = failureOf(job.waitUntilFinished({ signal: controller.signal }));
      await queue.counts();
      const reason = new Error('enough');
      controller.abort(reason);
      expect(await waiting).toMatchObject({ redisErrorKind: 'cancelled', cause: reason });
      expect((await failureOf(job.waitUntilFinished({ signal: controller.signal }))).redisErrorKind).toBe('cancelled');
      const open = failureOf(job.waitUntilFinished());
      await queue.close();
      expect((await open).redisErrorKind).toBe('closed');
    });
  });

  describe('addAndWait', () => {
    test('gives the result of a job that does not stay, however soon it ends', async () => {
      const queue = queues.queue<number, number | undefined>();
      queue.process((job) => {
        if (job.name === 'fails') throw new Error(`no ${job.data}`);
        return job.data < 0 ? undefined : job.data * 2;
      });
      const job = { keepCompleted: false, keepFailed: false };
      for (let n = 0; n < 20; n++) expect(await queue.addAndWait('x', n, { job })).toBe(n * 2);
      const many = await Promise.all(Array.from({ length: 200 }, (_, n) => queue.addAndWait('x', n, { job, timeoutMs: 10_000 })));
      expect(many).toEqual(Array.from({ length: 200 }, (_, n) => n * 2));
      expect(await queue.addAndWait('x', -1)).toBeUndefined();
      const failed = queue.addAndWait('fails', 3, { job: { ...job, id: 'its-id' } });
      await expect(failed).rejects.toMatchObject({ name: 'JobFailedError', message: 'no 3', jobId: 'its-id' });
    });

    test('gives a large result of a job that does not stay', async () => {
      const queue = queues.queue<number, string>();
      queue.process(() => 'x'.repeat(200_000));
      expect(await queue.addAndWait('x', 1, { job: { keepCompleted: false } })).toHaveLength(200_000);
    });

    test('waits for the job that is there instead', async () => {
      const queue = queues.queue<number, number>();
      const held = await queue.add('x', 1, { dedupe: { id: 'd' } });
      const waiting = [queue.addAndWait('x', 2, { job: { dedupe: { id: 'd' } } }), queue.addAndWait('x', 3, { job: { id: held.id } })];
      queue.process((job) => job.data);
      expect(await Promise.all(waiting)).toEqual([1, 1]);
      // Of one that is over and has stayed the result is there.
      expect(await queue.addAndWait('x', 4, { job: { id: held.id } })).toBe(1);
      const gone = { dedupe: { id: 'gone', ttlMs: 60_000 }, keepCompleted: false };
      expect(await queue.addAndWait('x', 5, { job: gone })).toBe(5);
      expect(await queue.addAndWait('x', 6, { job: gone })).toBeUndefined();
    });

    test('ends with timeoutMs and with its signal, and refuses what is wrong by name', async () => {
      const queue = queues.queue<number>();
      const late = await failureOf(queue.addAndWait('x', 1, { timeoutMs: 20 }));
      expect(late).toMatchObject({ redisErrorKind: 'timeout', delivery: 'rejected' });
      const controller = new AbortController();
      const aborted = failureOf(queue.addAndWait('x', 2, { signal: controller.signal }));
      await reaches(queue as TaskQueue, { waiting: 2 });
      controller.abort(new Error('enough'));
      expect(await aborted).toMatchObject({ redisErrorKind: 'cancelled', cause: new Error('enough') });
      for (const [options, message] of [
        [{ timeout: 1 }, /TaskQueue\.addAndWait\.timeout: expected one of the options/],
        [{ timeoutMs: -1 }, /TaskQueue\.addAndWait: timeoutMs/],
        [{ job: { attempts: 0 } }, /attempts/],
        [{ signal: 1 }, /TaskQueue\.addAndWait: signal/],
        [1, /TaskQueue\.addAndWait: options/],
      ] as [never, RegExp][]) {
        expect((await failureOf(queue.addAndWait('x', 1, options))).message).toMatch(message);
      }
      expect(await queue.counts()).toMatchObject({ waiting: 2 });
      const closed = failureOf(queue.addAndWait('x', 3));
      await reaches(queue as TaskQueue, { waiting: 3 });
      await queue.close();
      expect(await closed).toMatchObject({ redisErrorKind: 'closed' });
    });
  });
});
