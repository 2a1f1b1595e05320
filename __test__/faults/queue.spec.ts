/** Workers that die, stand still or are blocked, and a server that does: whose job it is, and who runs it next. */
import { type RedisError, TaskQueue, type TaskQueueOptions, WorkerRegistry } from 'redis-backplane';
import { describe, expect, it } from 'vitest';
import { failureOf } from '../support/failure.ts';
import { linesWith, startWorker, type Task } from '../support/queue-processes.ts';
import { gate, reaches } from '../support/queues.ts';
import { useRig } from '../support/rig.ts';
import { stretched } from '../support/starvation.ts';
import { until } from '../support/until.ts';

const rig = useRig();
/** The shortest there is. */
const LEASE_MS = Number(process.env.QUEUE_LEASE_MS ?? 1_000);
/** How long the event loop is blocked: `QUEUE_LEASE_MS=5000 QUEUE_BLOCK_MS=60000` is what is promised. */
const BLOCK_MS = Number(process.env.QUEUE_BLOCK_MS ?? 8 * LEASE_MS);
/** What a busy machine may add to any time. */
const SLACK_MS = 1_500;

function queueOf(url: string, options?: TaskQueueOptions): TaskQueue<Task, number> {
  return new TaskQueue<Task, number>('work', rig.manager({ url, reconnect: { minDelayMs: 5, maxDelayMs: 100 } }), options);
}

describe('a worker whose event loop is blocked', () => {
  it('keeps its jobs: nobody else gets them, and none is stalled', { timeout: BLOCK_MS * 2 + 60_000 }, async () => {
    const { url } = await rig.server();
    const queue = queueOf(url, { defaultJobOptions: { keepCompleted: true } });
    const blocked = startWorker({ url, queue: 'work', concurrency: 3, leaseMs: LEASE_MS }, BLOCK_MS * 2 + 60_000);
    await blocked.line(hasUp);
    // The first two are in hand while the third blocks them.
    await queue.addBulk([{ sleepMs: 50 }, { sleepMs: 50 }, { sleepMs: 20, blockMs: BLOCK_MS }].map((data) => ({ name: 'x', data })));
    await until(() => linesWith(blocked, 'begun').length === 3, { what: 'all three in hand' });
    const vulture = startWorker({ url, queue: 'work', concurrency: 3, leaseMs: LEASE_MS }, BLOCK_MS * 2 + 60_000);
    await vulture.line(hasUp);
    await reaches(queue, { completed: 3 }, BLOCK_MS + 30_000);
    expect(linesWith(vulture, 'begun')).toEqual([]);
    expect(linesWith(blocked, 'error')).toEqual([]);
    const jobs = await queue.list('completed');
    expect(jobs.map((job) => [job.stalledCount, job.attemptsMade, job.result])).toEqual(Array(3).fill([0, 1, blocked.pid]));
    expect((jobs[2]?.finishedAt as number) - (jobs[2]?.startedAt as number)).toBeGreaterThanOrEqual(BLOCK_MS);
    await Promise.all([blocked.kill9(), vulture.kill9()]);
  });
});

describe('a worker that is killed', () => {
  it('has its jobs run elsewhere within its lease and one sweep', async () => {
    const { url } = await rig.server();
    const queue = queueOf(url);
    const victim = startWorker({ url, queue: 'work', concurrency: 5, leaseMs: LEASE_MS });
    await victim.line(hasUp);
    const jobs = await queue.addBulk(Array.from({ length: 5 }, () => ({ name: 'x', data: { hang: true } })));
    await until(() => linesWith(victim, 'begun').length === 5, { what: 'all in hand' });
    const heir = startWorker({ url, queue: 'work', concurrency: 5, leaseMs: LEASE_MS });
    await heir.line(hasUp);
    await victim.kill9();
    const killed = Date.now();
    await until(() => linesWith(heir, 'begun').length === 5, { timeoutMs: LEASE_MS * 2 + 10_000, what: 'all in the other hand' });
    const begun = linesWith(heir, 'begun');
    for (const { stalls, attempt } of begun) expect([stalls, attempt]).toEqual([1, 1]);
    expect(Math.max(...begun.map(({ at }) => at)) - killed).toBeLessThan(stretched(LEASE_MS + sweepMs(LEASE_MS) + SLACK_MS));
    expect((await jobs[0]?.refresh())?.stalledCount).toBe(1);
    await heir.kill9();
  });

  it('more often than maxStalls allows fails its job', async () => {
    const { url } = await rig.server();
    const queue = queueOf(url);
    const job = await queue.add('x', { hang: true });
    for (let n = 0; n < 2; n++) {
      const victim = startWorker({ url, queue: 'work', leaseMs: LEASE_MS, maxStalls: 1 });
      await until(() => linesWith(victim, 'begun').length === 1, { timeoutMs: 20_000, what: 'the job in hand' });
      await victim.kill9();
    }
    const waiting = job.waitUntilFinished();
    const last = startWorker({ url, queue: 'work', leaseMs: LEASE_MS, maxStalls: 1 });
    await expect(waiting).rejects.toThrow(/stalled|worker/);
    await job.refresh();
    expect([job.state, job.stalledCount, job.attemptsMade]).toEqual(['failed', 2, 0]);
    expect(linesWith(last, 'begun')).toEqual([]);
    await last.kill9();
  });

  it('while nobody else is there leaves its jobs to the next who comes', async () => {
    const { url } = await rig.server();
    const queue = queueOf(url);
    const victim = startWorker({ url, queue: 'work', leaseMs: LEASE_MS });
    await victim.line(hasUp);
    await queue.add('x', { hang: true });
    await until(() => linesWith(victim, 'begun').length === 1, { what: 'the job in hand' });
    await victim.kill9();
    const heir = startWorker({ url, queue: 'work', leaseMs: LEASE_MS });
    await until(() => linesWith(heir, 'begun').length === 1, { timeoutMs: LEASE_MS * 3 + 10_000, what: 'the job in the other hand' });
    await heir.kill9();
  });
});

describe('a registered worker that is killed', () => {
  it('has its jobs run elsewhere as soon as its registry declares it crashed, whatever is left of its lease', async () => {
    const { url } = await rig.server();
    const queue = queueOf(url);
    const leaseMs = 600_000;
    const victim = startWorker({ url, queue: 'work', concurrency: 3, leaseMs, registered: true });
    await victim.line(hasUp);
    await queue.addBulk(Array.from({ length: 3 }, () => ({ name: 'x', data: { hang: 'first' as const } })));
    await until(() => linesWith(victim, 'begun').length === 3, { what: 'all in hand' });
    const heir = startWorker({ url, queue: 'work', concurrency: 3, leaseMs, registered: true });
    await heir.line(hasUp);
    // It is in the books as the heir only once it has registered.
    const registry = new WorkerRegistry(rig.manager({ url }), { heartbeatIntervalMs: 100 });
    await until(async () => (await registry.count()).total === 2, { what: 'both to be registered' });
    await victim.kill9();
    await reaches(queue, { completed: 3 }, 20_000);
    for (const job of await queue.list('completed')) expect([job.stalledCount, job.result]).toEqual([1, heir.pid]);
    await heir.kill9();
  });
});

describe('a registered worker that stands still until it is declared crashed', () => {
  it('registers anew when it goes on, and works under that name', async () => {
    const { url } = await rig.server();
    const queue = queueOf(url);
    const worker = startWorker({ url, queue: 'work', leaseMs: LEASE_MS, registered: true });
    await worker.line(hasUp);
    const observer = new WorkerRegistry(rig.manager(url), { heartbeatIntervalMs: 100 });
    const healthy = async () => (await observer.list()).filter(({ health }) => health === 'healthy');
    const [first] = await until(async () => (await healthy()).length === 1 && healthy(), { what: 'it to be registered' });
    const crashed: string[] = [];
    observer.on('crashed', ({ id }) => crashed.push(id));
    await observer.ready();
    await worker.freeze();
    await until(() => crashed.length === 1, { what: 'its crash to be declared', timeoutMs: 10_000 });
    expect(crashed).toEqual([first?.id]);
    worker.thaw();
    const [next] = await until(async () => (await healthy()).length === 1 && healthy(), {
      what: 'it to be registered anew',
      timeoutMs: 10_000,
    });
    expect(next?.epoch).toBeGreaterThan(first?.epoch as number);
    const { id } = await queue.add('x', {});
    await until(() => linesWith(worker, 'ended').some(({ ended }) => ended === id), { what: 'its next job to end', timeoutMs: 10_000 });
    process.kill(worker.pid, 'SIGTERM');
    expect(await worker.ended).toMatchObject({ code: 0 });
    expect(await healthy()).toEqual([]);
    await observer.cleanup();
  });
});

describe('the outcome of a job', () => {
  it('that reaches no server before the lease is over is told as lost', async () => {
    const server = await rig.server();
    const queue = new TaskQueue('work', rig.manager({ url: server.url, commandTimeoutMs: 300 }));
    const { opened, open } = gate();
    const worker = queue.process(() => opened, { leaseMs: LEASE_MS });
    const told: RedisError[] = [];
    worker.on('error', (error) => told.push(error));
    const { id } = await queue.add('x', {});
    await reaches(queue, { active: 1 });
    await server.freeze();
    open();
    const lost = (error: RedisError) => error.redisErrorKind === 'lease-lost' && error.message.includes(id);
    await until(() => told.some(lost), { what: () => `its loss to be told; told: ${told.map(String)}`, timeoutMs: LEASE_MS + 10_000 });
    server.thaw();
    await queue.close({ graceMs: 0 });
  });
});

describe('a worker that stands still for longer than its lease', () => {
  it('has lost its job: another one runs it, and what the first says of it afterwards changes nothing', async () => {
    const { url } = await rig.server();
    const queue = queueOf(url);
    const sleeper = startWorker({ url, queue: 'work', leaseMs: LEASE_MS });
    await sleeper.line(hasUp);
    const job = await queue.add('x', { hang: 'first' });
    await until(() => linesWith(sleeper, 'begun').length === 1, { what: 'the job in hand' });
    await sleeper.freeze();
    const heir = startWorker({ url, queue: 'work', leaseMs: LEASE_MS });
    await until(() => linesWith(heir, 'begun').length === 1, { timeoutMs: LEASE_MS * 2 + 15_000, what: 'the job in the other hand' });
    sleeper.thaw();
    await until(() => linesWith(sleeper, 'aborted').length === 1, { timeoutMs: 15_000, what: 'the first to learn of it' });
    expect(linesWith(sleeper, 'aborted')[0]?.kind).toBe('lease-lost');
    expect(await job.waitUntilFinished()).toBe(heir.pid);
    expect(await job.refresh()).toMatchObject({ state: 'completed', stalledCount: 1, attemptsMade: 1 });
    // It goes on with the next.
    await heir.kill9();
    const next = await queue.add('x', {});
    expect(await next.waitUntilFinished()).toBe(sleeper.pid);
    await sleeper.kill9();
  });
});

describe('a server that is killed and comes back', () => {
  it('loses no job and runs none twice in the books', async () => {
    const server = await rig.server({ durable: true });
    const queue = queueOf(server.url, { defaultJobOptions: { keepCompleted: true, keepFailed: true, attempts: 2 } });
    const workers = [0, 1].map(() =>
      startWorker({ url: server.url, queue: 'work', concurrency: 10, leaseMs: 2 * LEASE_MS, maxStalls: 100 }),
    );
    await Promise.all(workers.map((worker) => worker.line(hasUp)));
    const TOTAL = 300;
    const jobs = Array.from({ length: TOTAL }, (_, n) => ({
      name: 'x',
      data: { sleepMs: 20 + (n % 7) * 10, failures: n % 10 === 0 ? 2 : 0 },
      options: { id: `job-${n}` },
    }));
    await queue.addBulk(jobs);
    for (let round = 0; round < 3; round++) {
      const before = (await queue.counts()).completed;
      await until(async () => (await queue.counts()).completed > before + 10, { timeoutMs: 15_000, what: 'some to be done' });
      await server.kill9();
      await server.restart();
      await until(async () => (await queue.counts()) !== undefined, { timeoutMs: 15_000, what: 'the server to be back' });
    }
    await reaches(queue, { waiting: 0, active: 0, delayed: 0, completed: TOTAL - TOTAL / 10, failed: TOTAL / 10 }, 60_000);
    for (const worker of workers) await worker.kill9();
  });

  it('that is only frozen for less than a lease takes no job from anybody', async () => {
    const server = await rig.server();
    const queue = queueOf(server.url, { defaultJobOptions: { keepCompleted: true } });
    const workers = [0, 1].map(() => startWorker({ url: server.url, queue: 'work', concurrency: 5, leaseMs: 5 * LEASE_MS }));
    await Promise.all(workers.map((worker) => worker.line(hasUp)));
    await queue.addBulk(Array.from({ length: 10 }, () => ({ name: 'x', data: { sleepMs: 800 } })));
    await reaches(queue, { active: 10 });
    await server.freeze();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    server.thaw();
    await reaches(queue, { completed: 10 }, 20_000);
    for (const job of await queue.list('completed')) expect([job.stalledCount, job.attemptsMade]).toEqual([0, 1]);
    for (const worker of workers) await worker.kill9();
  });

  it('that forgot its scripts, or cut every connection, is nothing to anybody', async () => {
    const server = await rig.server();
    const queue = queueOf(server.url);
    const seen = new Map<number, number>();
    const worker = queue.process(
      (job) => {
        const n = job.data.sleepMs as number;
        seen.set(n, (seen.get(n) ?? 0) + 1);
        return n;
      },
      { concurrency: 5 },
    );
    let added = 0;
    for (let round = 0; round < 10; round++) {
      await server.cli('SCRIPT', 'FLUSH');
      if (round % 2) await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
      if (round % 3 === 2) await server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
      const jobs = Array.from({ length: 20 }, () => ({ name: 'x', data: { sleepMs: added++ }, options: { id: `j${added}` } }));
      await until(() => queue.addBulk(jobs), { what: 'the jobs to be added' });
      await reaches(queue, { completed: added }, 15_000);
    }
    expect(seen.size).toBe(added);
    await worker.close();
    await queue.close();
  });
});

describe('a listener whose server is away', () => {
  it('learns so, and hears everything once it is back', async () => {
    const server = await rig.server();
    await server.kill9();
    const manager = rig.manager({ url: server.url, commandTimeoutMs: 300, reconnect: { minDelayMs: 5, maxDelayMs: 50 } });
    const queue = new TaskQueue('work', manager);
    const added: string[] = [];
    const errors: RedisError[] = [];
    queue.on('error', (error) => errors.push(error));
    queue.on('added', ({ jobId }) => added.push(jobId));
    await failureOf(queue.ready());
    expect(errors.length).toBeGreaterThan(0);
    await server.restart();
    await until(() => queue.ready().then(() => true), { timeoutMs: 15_000, what: 'the listener to be live' });
    await queue.add('x', 1, { id: 'heard' });
    await until(() => added.includes('heard'), { what: 'the event' });
    await queue.close();
  });
});

describe('a worker that never got the answer by which it claimed a job', () => {
  it('finds that it has it, with the progress of the attempt before', async () => {
    const server = await rig.server();
    const proxy = await rig.proxy(server);
    const queue = new TaskQueue<string>('work', rig.manager({ url: proxy.url, reconnect: { minDelayMs: 5, maxDelayMs: 100 } }));
    const seen: unknown[] = [];
    const worker = queue.process(async (job) => {
      seen.push(job.progress);
      if (seen.length > 1) return;
      await job.updateProgress({ step: 7 });
      // The answer that gives the job again is longer, and every other one is shorter.
      proxy.set({ down: { dropAfterBytes: 100_000 } });
      throw new Error('again');
    });
    worker.on('error', () => proxy.heal());
    const near = new TaskQueue<string>('work', rig.manager({ url: server.url }));
    const job = await near.add('x', 'x'.repeat(300_000), { attempts: 3, backoff: { type: 'fixed', delayMs: 50 } });
    await job.waitUntilFinished();
    expect(seen).toEqual([undefined, { step: 7 }]);
    expect((await job.refresh())?.attemptsMade).toBe(2);
    expect(proxy.counters.dropped).toBeGreaterThan(0);
    await worker.close();
  });
});

describe('a waiter whose server is far away', () => {
  it('gets the result of a job that was done and gone before it could be looked at', async () => {
    const server = await rig.server();
    const near = queueOf(server.url);
    const [begun, end] = [gate(), gate()];
    const worker = near.process(async () => {
      begun.open();
      await end.opened;
      return 42;
    });
    await near.add('x', {}, { keepCompleted: false, id: 'fleeting' });
    await begun.opened;
    // Far enough that the job ends between the two questions: what happens from now on, and how it stands.
    const proxy = await rig.proxy(server, { up: { delayMs: 150 }, down: { delayMs: 150 } });
    const job = await queueOf(proxy.url).getJob('fleeting');
    const result = job?.waitUntilFinished({ timeoutMs: 10_000 });
    await until(() => server.cli('HEXISTS', '~queue:{work}:meta', 'heard'), { what: 'events to be written' });
    end.open();
    expect(await result).toBe(42);
    expect(await near.getJob('fleeting')).toBeNull();
    await worker.close();
  });
});

describe('a waiter whose server comes back without what it had written last', () => {
  it('hears of the end of its job all the same, and listeners of a gap', async () => {
    const server = await rig.server();
    const queue = queueOf(server.url);
    const gaps: unknown[] = [];
    queue.on('gap', (gap) => gaps.push(gap)).on('completed', () => {});
    await queue.ready();
    const job = await queue.add('x', {}, { delayMs: 3_600_000 });
    await server.cli('SAVE');
    for (let n = 0; n < 50; n++) await queue.add('x', {}, { delayMs: 3_600_000 });
    const waiting = job.waitUntilFinished({ timeoutMs: 30_000 });
    // The wait has read how the job stands once the server has answered what came after it.
    await queue.getJob(job.id);
    await server.kill9();
    await server.restart();
    await until(async () => (await queue.counts().catch(() => undefined))?.delayed === 1, { timeoutMs: 20_000, what: 'the older data' });
    queue.process(() => 42);
    await job.promote();
    expect(await waiting).toBe(42);
    await until(() => gaps.length > 0, { what: 'the gap' });
    await queue.close();
  });
});

describe('delayed jobs', () => {
  it('of ten thousand begin within 50 ms of their time', async () => {
    const { url } = await rig.server();
    const queue = queueOf(url, { defaultJobOptions: { keepCompleted: false } });
    const TOTAL = 10_000;
    const DUE = 100;
    const late: number[] = [];
    const worker = queue.process(
      (job) => {
        const { sleepMs: delay } = job.data;
        if (delay) late.push((job.startedAt as number) - (job.addedAt + delay));
        return 0;
      },
      { concurrency: 10 },
    );
    // Most are for much later; a hundred come due one by one in the seconds after.
    await queue.addBulk(Array.from({ length: TOTAL - DUE }, (_, n) => ({ name: 'later', data: {}, options: { delayMs: 3_600_000 + n } })));
    await queue.addBulk(
      Array.from({ length: DUE }, (_, n) => ({ name: 'soon', data: { sleepMs: 500 + n * 25 }, options: { delayMs: 500 + n * 25 } })),
    );
    expect((await queue.counts()).delayed).toBe(TOTAL);
    await until(() => late.length === DUE, { timeoutMs: 20_000, what: () => `${DUE} to be done; ${late.length} are` });
    late.sort((a, b) => a - b);
    expect(late[0]).toBeGreaterThanOrEqual(0);
    console.log(`delayed: late by ${late[DUE / 2]} ms at the median, ${late[DUE - 1]} ms at most`);
    expect(late[Math.floor(DUE * 0.95)]).toBeLessThanOrEqual(50);
    await worker.close();
    await queue.close();
  });
});

function hasUp(line: object): boolean {
  return 'up' in line;
}

/** How often expired leases are looked for, at the latest. */
function sweepMs(leaseMs: number): number {
  return leaseMs;
}
