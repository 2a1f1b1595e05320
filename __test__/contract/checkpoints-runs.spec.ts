/** Who owns a thread of checkpoints, and what becomes of a thread whose owner is gone, on every backend. */
import { type CheckpointRun, CheckpointStore, type RedisConnectionManager, type Resumer } from 'redis-backplane';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { describeBackends } from '../support/backends.ts';
import { refusalOf } from '../support/failure.ts';
import { gate } from '../support/queues.ts';
import { until, within } from '../support/until.ts';

describeBackends('owners of threads', (backend) => {
  let manager: RedisConnectionManager;
  let store: CheckpointStore;
  let resumers: Resumer[] = [];

  beforeEach(async () => {
    manager = backend.manager();
    // An embedded server lasts as long as one manager is connected to it.
    await manager.connect();
    store = new CheckpointStore(manager);
  });
  afterEach(async () => {
    await Promise.all(resumers.map((resumer) => resumer.close()));
    resumers = [];
  });

  const taken = async <S = unknown>(
    thread: string,
    options?: Parameters<CheckpointStore['acquire']>[1],
    of = store,
  ): Promise<CheckpointRun<S>> => {
    const run = await of.acquire<S>(thread, options);
    if (run === null) throw new Error(`${thread} belongs to somebody else`);
    return run;
  };
  /** Has threads an owner that is gone without a word, and waits until that shows. */
  const interrupt = async (threads: string[], worker?: { id: string; epoch: number }): Promise<void> => {
    const gone = backend.manager();
    const theirs = new CheckpointStore(gone);
    for (const thread of threads) await taken(thread, { leaseMs: 300, worker }, theirs);
    await gone.disconnect();
    await overdue(threads);
  };
  const overdue = async (threads: string[]): Promise<void> => {
    const all = async () => (await store.interrupted()).filter(({ thread }) => threads.includes(thread)).length === threads.length;
    await until(all, { what: `${threads.length} threads to be interrupted` });
  };
  const resume = (...args: Parameters<typeof store.resume>): Resumer => {
    const resumer = store.resume(...args);
    resumers.push(resumer);
    return resumer;
  };

  describe('acquire', () => {
    test('gives a thread to one, with its latest checkpoint, whose saves follow each other', async () => {
      const before = await store.save('t', { n: 1 });
      const run = await taken<{ n: number }>('t');
      expect(run).toMatchObject({ thread: 't', interrupted: null, checkpoint: { id: before.id, state: { n: 1 } } });
      expect(run.signal.aborted).toBe(false);
      const { save } = run;
      const infos = await Promise.all([save({ n: 2 }, { meta: { step: 2 } }), save({ n: 3 }), save({ n: 4 })]);
      expect(infos.map(({ parent }) => parent)).toEqual([before.id, infos[0]?.id, infos[1]?.id]);
      expect(infos[0]).toMatchObject({ thread: 't', scope: '', meta: { step: 2 } });
      await run.finish();
      expect(await store.latest('t')).toMatchObject({ id: infos[2]?.id, state: { n: 4 } });
    });

    test('works for a thread without checkpoints, which leaves nothing behind', async () => {
      const run = await taken('t');
      expect(run.checkpoint).toBeNull();
      await run.pause();
      expect(await manager.command('KEYS', `${backend.namespace}:*`)).toEqual([]);
    });

    test('gives it to nobody else meanwhile; every later owner has a larger fence', async () => {
      const other = new CheckpointStore(backend.manager());
      const fences: number[] = [];
      for (let round = 0; round < 3; round++) {
        const tries = await Promise.all(Array.from({ length: 10 }, (_, n) => (n % 2 ? store : other).acquire('t')));
        const [run, ...others] = tries.filter((found) => found !== null);
        expect(others).toEqual([]);
        fences.push(run?.fence ?? 0);
        await run?.save(round);
        await run?.pause();
      }
      expect([...fences].sort((a, b) => a - b)).toEqual(fences);
      expect(new Set(fences).size).toBe(3);
      expect(fences.every(Number.isSafeInteger)).toBe(true);
    });

    test('waits for an owner that gives it back, and no longer than it was told', async () => {
      const run = await taken('t');
      expect(await store.acquire('t', { waitMs: 50 })).toBeNull();
      const waiting = new CheckpointStore(backend.manager()).acquire('t', { waitMs: 20_000 });
      await run.save(1);
      await run.pause();
      const next = await within(10_000, waiting, 'the next owner');
      expect(next).toMatchObject({ interrupted: null, checkpoint: { state: 1 } });
      await next?.finish();
    });

    test('its wait is ended by a signal, which does not touch a thread that is owned', async () => {
      const ending = new AbortController();
      const run = await taken('t', { signal: ending.signal });
      const waiting = store.acquire('t', { waitMs: 20_000, signal: ending.signal });
      await manager.ping();
      ending.abort(new Error('enough'));
      const error = await refusalOf(waiting, 'cancelled', /^CheckpointStore\.acquire: signal: aborted$/);
      expect(error.cause).toMatchObject({ message: 'enough' });
      await refusalOf(store.acquire('u', { signal: ending.signal }), 'cancelled');
      expect(run.signal.aborted).toBe(false);
      await run.save(1);
      await run.pause();
      const free = await taken('u');
      await free.pause();
    });

    test('is given back at the end of a block', async () => {
      {
        await using run = await taken('t');
        await run.save(1);
        expect(await store.acquire('t')).toBeNull();
      }
      await (await taken('t')).pause();
      expect(await store.interrupted()).toEqual([]);
    });
  });

  describe('who does not own a thread', () => {
    test('cannot save, unless with the fence of the owner', async () => {
      const run = await taken('t');
      const refused = /^CheckpointStore\.\w+: the thread has another owner or a larger fencing token, \d+$/;
      for (const fence of [undefined, 1, run.fence - 1, run.fence + 1]) {
        expect(await refusalOf(store.save('t', 1, { fence }), 'lease-lost', refused)).toMatchObject({ delivery: 'rejected' });
      }
      await refusalOf(store.addPending('t', '1', 'task', [['x', 1]]), 'lease-lost', refused);
      expect(manager.metrics().redis_checkpoint_fenced_total).toBe(5);
      expect(await store.latest('t')).toBeNull();
      const saved = await store.save('t', 1, { fence: run.fence });
      await store.addPending('t', saved.id, 'task', [['x', 1]], { fence: run.fence });
      expect((await run.save(2)).parent).toBe(saved.id);
      await run.pause();
      await refusalOf(store.save('t', 3, { fence: run.fence }), 'lease-lost', refused);
      await store.save('t', 3);
    });

    test('with a fence from elsewhere is refused once a larger one was seen', async () => {
      await store.save('t', 1, { fence: 7 });
      await store.save('t', 2, { fence: 7 });
      await store.save('t', 3, { fence: 9 });
      await refusalOf(store.save('t', 4, { fence: 8 }), 'lease-lost', / 9$/);
      await store.save('t', 4);
      expect((await store.latest('t'))?.state).toBe(4);
    });

    test('is told when the thread is removed: the signal is aborted, and nothing is changed', async () => {
      const run = await taken('t', { leaseMs: 300 });
      await run.save(1);
      expect(await store.remove('t')).toBe(true);
      await refusalOf(run.save(2), 'lease-lost');
      await until(() => run.signal.aborted, { what: 'the signal' });
      expect(run.signal.reason).toMatchObject({ name: 'RedisError', redisErrorKind: 'lease-lost' });
      await refusalOf(run.save(3), 'lease-lost');
      await refusalOf(run.finish(), 'lease-lost', /^CheckpointRun\.finish: the thread belongs to somebody else$/);
      await run.pause();
      expect(await store.latest('t')).toBeNull();
    });

    test('any more saves no more, and may give it back again', async () => {
      const over = /^CheckpointRun\.\w+: the run is over$/;
      for (const end of ['pause', 'finish'] as const) {
        const run = await taken('t');
        await run.save(1);
        await run[end]();
        await refusalOf(run.save(2), 'lease-lost', over);
        await run[end]();
        await run.pause();
        await refusalOf(run.finish('failed'), 'lease-lost', over);
      }
      expect((await store.latest('t'))?.state).toBe(1);
    });

    test('ends after what is being saved', async () => {
      const run = await taken('t');
      const saving = Array.from({ length: 10 }, (_, n) => run.save(n));
      await run.finish('failed');
      expect((await Promise.all(saving)).at(-1)).toMatchObject({ id: (await store.latest('t'))?.id });
    });
  });

  test('a run on a thread with ids of the caller goes on behind them', async () => {
    await store.save('t', 0, { id: 'step-9' });
    const run = await taken('t');
    const made = [await run.save(1), await run.save(2)];
    expect(made.map(({ parent }) => parent)).toEqual(['step-9', made[0]?.id]);
    expect((await store.latest('t'))?.state).toBe(2);
    await run.finish();
  });

  describe('a thread whose owner is gone', () => {
    test('is interrupted when the lease has ended, and whoever takes it is told of that', async () => {
      await store.save('t', { n: 1 });
      await interrupt(['t', 'u'], { id: 'w', epoch: 3 });
      const found = await store.interrupted();
      expect(found.map(({ thread }) => thread).sort()).toEqual(['t', 'u']);
      expect(found[0]).toMatchObject({ worker: 'w', epoch: 3, times: 1 });
      expect(await store.interrupted({ limit: 1 })).toHaveLength(1);
      const run = await taken('t');
      const at = found.find(({ thread }) => thread === 't')?.at;
      expect(run).toMatchObject({ checkpoint: { state: { n: 1 } }, interrupted: { worker: 'w', epoch: 3, at, times: 1 } });
      expect(await store.interrupted()).toMatchObject([{ thread: 'u' }]);
      expect(manager.metrics().redis_checkpoint_resumed_total).toBe(1);
      await run.pause();
      const next = await taken('t');
      expect(next.interrupted, 'it was given back').toBeNull();
      await next.finish();
      await store.remove('u');
      expect(await store.interrupted()).toEqual([]);
    });

    test('without a worker tells of none', async () => {
      await interrupt(['t']);
      expect(await store.interrupted()).toEqual([{ thread: 't', at: expect.any(Number), times: 1 }]);
    });
  });

  describe('resume', () => {
    test('gives each interrupted thread to one handler, which goes on from the latest checkpoint', async () => {
      const threads = Array.from({ length: 12 }, (_, n) => `t${n}`);
      for (const thread of threads) await store.save(thread, { n: 1 });
      await interrupt(threads);
      const calls: string[] = [];
      const other = new CheckpointStore(backend.manager());
      const handler = async (run: CheckpointRun<{ n: number }>): Promise<void> => {
        calls.push(run.thread);
        await run.save({ n: (run.checkpoint?.state.n ?? 0) + 1 });
        await run.finish();
      };
      const resumed: string[] = [];
      for (const of of [store, other]) {
        const resumer = of.resume(handler, { concurrency: 3 });
        resumers.push(resumer.on('resumed', (thread) => resumed.push(thread)));
      }
      await until(() => calls.length === threads.length, { what: 'all threads to be taken', timeoutMs: 20_000 });
      await Promise.all(resumers.map((resumer) => resumer.close()));
      expect(calls.sort()).toEqual([...threads].sort());
      expect(resumed.sort()).toEqual([...threads].sort());
      for (const thread of threads) expect((await store.latest(thread))?.state).toEqual({ n: 2 });
      expect(await store.interrupted()).toEqual([]);
    });

    test('tells the attempt and gives the signal of the run; what is not finished is given back', async () => {
      await interrupt(['t']);
      const seen: unknown[] = [];
      const resumer = resume(async (run, { attempt, signal }) => {
        seen.push(run.thread, attempt, signal === run.signal, run.interrupted?.times);
      });
      await until(() => seen.length > 0, { what: 'the handler' });
      await resumer.close();
      expect(seen).toEqual(['t', 1, true, 1]);
      expect(await store.interrupted()).toEqual([]);
      await (await taken('t')).finish();
    });

    test('takes no more at once than it was told, and only what matches', async () => {
      await interrupt(['a:1', 'a:2', 'a:3', 'b:1']);
      const go = gate();
      let now = 0;
      let most = 0;
      const done: string[] = [];
      const resumer = resume(
        async (run) => {
          now += 1;
          most = Math.max(most, now);
          await go.opened;
          now -= 1;
          done.push(run.thread);
        },
        { concurrency: 2, match: 'a:*' },
      );
      await until(() => now === 2, { what: 'two handlers' });
      // Nobody is taken while both are at work: the third is still there.
      expect((await store.interrupted()).map(({ thread }) => thread)).toContain('b:1');
      expect(await store.interrupted()).toHaveLength(2);
      go.open();
      await until(() => done.length === 3, { what: 'three handlers', timeoutMs: 15_000 });
      await resumer.close();
      expect(most).toBe(2);
      expect(done.sort()).toEqual(['a:1', 'a:2', 'a:3']);
      expect(await store.interrupted()).toMatchObject([{ thread: 'b:1' }]);
    });

    test('a handler that throws leaves its thread interrupted, after a pause that grows; after maxResumes it has failed', async () => {
      await interrupt(['t']);
      const attempts: { attempt: number; at: number }[] = [];
      const told: unknown[] = [];
      const resumer = resume(
        async (_, { attempt }) => {
          attempts.push({ attempt, at: performance.now() });
          throw new Error(`no ${attempt}`);
        },
        { maxResumes: 2 },
      );
      resumer.on('error', (error, thread) => told.push((error as Error).message, thread)).on('failed', (...args) => told.push(...args));
      await until(() => told.length >= 6, { what: 'the thread to have failed', timeoutMs: 20_000 });
      expect(attempts.map(({ attempt }) => attempt)).toEqual([1, 2]);
      expect(told).toEqual(['no 1', 't', 'no 2', 't', 't', 3]);
      expect((attempts[1]?.at ?? 0) - (attempts[0]?.at ?? 0)).toBeGreaterThanOrEqual(249);
      await resumer.close();
      expect(await store.interrupted()).toEqual([]);
      const run = await taken('t');
      expect(run.interrupted, 'whoever takes it by hand begins to count anew').toBeNull();
      await run.finish();
    });

    test('closes when the handlers in hand have ended, and takes nothing more', async () => {
      await interrupt(['t', 'u']);
      const go = gate();
      const calls: string[] = [];
      const resumer = resume(async (run) => {
        calls.push(run.thread);
        await go.opened;
        await run.finish();
      });
      await until(() => calls.length === 1, { what: 'the handler' });
      let isClosed = false;
      const closing = resumer.close().then(() => {
        isClosed = true;
      });
      await manager.ping();
      expect(isClosed).toBe(false);
      go.open();
      await closing;
      await resumer[Symbol.asyncDispose]();
      expect(calls).toHaveLength(1);
      expect(await store.interrupted()).toHaveLength(1);
    });

    test('leaves alone what is owned, given back or finished', async () => {
      const owned = await taken('owned', { leaseMs: 300 });
      await (await taken('paused')).pause();
      await (await taken('finished')).finish();
      await (await taken('failed')).finish('failed');
      await interrupt(['t']);
      const calls: string[] = [];
      const resumer = resume(async (run) => void calls.push(run.thread));
      await until(() => calls.length > 0, { what: 'the handler' });
      await resumer.close();
      expect(calls).toEqual(['t']);
      await owned.save(1);
      await owned.finish();
    });
  });
});
