/** BullMQ 6 on the connections of a manager, without any other Redis client, on a real redis-server and on `memory://`. */
import { createRequire } from 'node:module';
import { FlowProducer, type Processor, Queue, QueueEvents, type QueueOptions, RateLimitError, Worker, type WorkerOptions } from 'bullmq';
import { type BullMQClient, bullmqConnection } from 'redis-backplane';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeBackends } from './support/backends.ts';
import { until, within } from './support/until.ts';

const require = createRequire(import.meta.url);

interface Closeable {
  on(event: 'error', listener: (error: Error) => void): unknown;
  close(): Promise<unknown>;
}

describeBackends('BullMQ', (backend) => {
  let connection: BullMQClient;
  let open: Closeable[];
  let errors: Error[];

  beforeEach(() => {
    connection = bullmqConnection(backend.manager());
    open = [];
    errors = [];
  });
  // Registered after those of `describeBackends`, so it runs before the managers are disconnected.
  afterEach(async () => {
    await within(10_000, Promise.all(open.map((one) => one.close())), 'everything of BullMQ to close');
    expect(errors).toEqual([]);
  });

  function keep<T extends Closeable>(one: T): T {
    one.on('error', (error) => errors.push(error));
    open.push(one);
    return one;
  }
  const options = (): QueueOptions => ({ connection, prefix: backend.namespace });
  const queueOf = (name: string) => keep(new Queue(name, options()));
  const workerOf = (name: string, processor: Processor, more: Partial<WorkerOptions> = {}) =>
    keep(new Worker(name, processor, { ...options(), ...more }));
  async function eventsOf(name: string): Promise<QueueEvents> {
    // From the first event on: what a job does before they read is heard too.
    const events = keep(new QueueEvents(name, { ...options(), lastEventId: '0' }));
    await events.waitUntilReady();
    return events;
  }

  it('a job is processed, and its result reaches the producer', async () => {
    const [queue, events] = [queueOf('paint'), await eventsOf('paint')];
    workerOf('paint', async (job) => ({ painted: job.data.color, text: 'ü€😀 ', nothing: null }));
    const job = await queue.add('wall', { color: 'red' });
    expect(await job.waitUntilFinished(events, 10_000)).toEqual({ painted: 'red', text: 'ü€😀 ', nothing: null });
    expect(await job.getState()).toBe('completed');
    // The package in `consumers/bullmq` has none; here other tests talk through them.
    expect(Object.keys(require.cache).filter((path) => /node_modules[\\/](ioredis|redis|@redis)[\\/]/.test(path))).toEqual([]);
  });

  it('jobs in bulk, with priorities and delays, come in their order', async () => {
    const queue = queueOf('paint');
    await queue.addBulk([
      { name: 'late', data: {}, opts: { delay: 300 } },
      { name: 'third', data: {}, opts: { priority: 9 } },
      { name: 'second', data: {}, opts: { priority: 1 } },
      { name: 'first', data: {} },
    ]);
    expect(await queue.getJobCounts('wait', 'prioritized', 'delayed')).toEqual({ wait: 1, prioritized: 2, delayed: 1 });
    const seen: string[] = [];
    workerOf('paint', async (job) => void seen.push(job.name));
    await until(() => seen.length === 4, { what: () => `four jobs, there are ${seen.join(', ')}`, timeoutMs: 10_000 });
    expect(seen).toEqual(['first', 'second', 'third', 'late']);
  });

  it('a job that fails is tried again after its backoff, and stays failed after its last attempt', async () => {
    const [queue, events] = [queueOf('paint'), await eventsOf('paint')];
    workerOf('paint', async (job) => {
      if (job.name === 'never' || job.attemptsMade < 2) throw new Error(`no paint: ${job.attemptsMade}`);
      return job.attemptsMade;
    });
    const twice = await queue.add('twice', {}, { attempts: 3, backoff: { type: 'fixed', delay: 20 } });
    expect(await twice.waitUntilFinished(events, 10_000)).toBe(2);
    const never = await queue.add('never', {}, { attempts: 2 });
    await expect(never.waitUntilFinished(events, 10_000)).rejects.toThrow('no paint: 1');
    await never.retry();
    await until(async () => (await queue.getJob(never.id as string))?.attemptsMade === 3, { what: 'the retried job to be tried' });
  });

  it('a flow: the parent runs after its children and reads their results', async () => {
    const events = await eventsOf('paint');
    const flows = keep(new FlowProducer(options()));
    workerOf('paint', async (job) => (job.name === 'house' ? Object.values(await job.getChildrenValues()).sort() : job.data.n), {
      concurrency: 5,
    });
    const children = Array.from({ length: 20 }, (_, n) => ({ name: 'wall', queueName: 'paint', data: { n: n + 10 } }));
    const { job } = await flows.add({ name: 'house', queueName: 'paint', data: {}, children });
    expect(await job.waitUntilFinished(events, 10_000)).toEqual(children.map((child) => child.data.n));
    const { processed } = await job.getDependencies({ processed: { count: 1_000 } });
    expect(Object.values(processed ?? {})).toHaveLength(20);
    expect((await job.getDependencies()).unprocessed).toEqual([]);
  });

  it('a child that fails fails its parent', async () => {
    const events = await eventsOf('paint');
    const flows = keep(new FlowProducer(options()));
    workerOf('paint', async (job) => {
      if (job.name === 'wall') throw new Error('no paint');
    });
    const tree = await flows.add({
      name: 'house',
      queueName: 'paint',
      children: [{ name: 'wall', queueName: 'paint', opts: { failParentOnFailure: true } }],
    });
    await expect(tree.job.waitUntilFinished(events, 10_000)).rejects.toThrow(/failed/);
  });

  it('a scheduler makes a job per interval until it is removed', async () => {
    const queue = queueOf('paint');
    let runs = 0;
    workerOf('paint', async () => void runs++);
    await queue.upsertJobScheduler('tick', { every: 100 }, { name: 'tick', data: { n: 1 } });
    await until(() => runs >= 3, { what: 'three ticks', timeoutMs: 10_000 });
    expect(await queue.getJobSchedulers()).toMatchObject([{ key: 'tick', every: 100 }]);
    expect((await queue.getJobScheduler('tick'))?.template).toMatchObject({ data: { n: 1 } });
    expect(await queue.removeJobScheduler('tick')).toBe(true);
    await queue.upsertJobScheduler('yearly', { pattern: '0 0 1 1 *', tz: 'Europe/Berlin' }, { name: 'yearly' });
    expect(await queue.getDelayedCount()).toBe(1);
    expect(await queue.getJobSchedulersCount()).toBe(1);
  });

  it('a job whose worker is gone is run by another', async () => {
    const queue = queueOf('paint');
    const lost = new Worker('paint', null, { ...options(), lockDuration: 100, skipLockRenewal: true });
    keep(lost);
    const job = await queue.add('wall', {});
    expect((await lost.getNextJob('token'))?.id).toBe(job.id);
    const stalled: string[] = [];
    const done: string[] = [];
    workerOf('paint', async (each) => void done.push(each.id as string), { stalledInterval: 100 }).on('stalled', (id) => stalled.push(id));
    await until(() => done.includes(job.id as string), { what: 'the stalled job to be run', timeoutMs: 10_000 });
    expect(stalled).toEqual([job.id]);
  });

  it('a paused queue hands nothing out; a paused worker takes nothing', async () => {
    const queue = queueOf('paint');
    let runs = 0;
    const worker = workerOf('paint', async () => void runs++);
    await worker.waitUntilReady();
    await queue.pause();
    expect(await queue.isPaused()).toBe(true);
    await queue.add('wall', {});
    expect(await queue.getWaitingCount()).toBe(1);
    expect(runs).toBe(0);
    await queue.resume();
    await until(() => runs === 1, { what: 'the job to run after resume()' });
    await within(2_000, worker.pause(), 'worker.pause() while it waits for a job');
    await queue.add('wall', {});
    expect(await queue.getWaitingCount()).toBe(1);
    worker.resume();
    await until(() => runs === 2, { what: 'the job to run after worker.resume()' });
  });

  it('a rate limit holds', async () => {
    const queue = queueOf('paint');
    const at: number[] = [];
    await queue.addBulk(Array.from({ length: 6 }, () => ({ name: 'wall', data: {} })));
    workerOf('paint', async () => void at.push(performance.now()), { limiter: { max: 2, duration: 300 }, concurrency: 3 });
    await until(() => at.length === 6, { what: 'six jobs', timeoutMs: 10_000 });
    // Three windows of two: the last begins two durations after the first, give or take a clock tick.
    expect((at[5] as number) - (at[0] as number)).toBeGreaterThan(550);
  });

  it('a processor that says it is limited gets its job back later', async () => {
    const queue = queueOf('paint');
    let attempts = 0;
    const worker: Worker = workerOf('paint', async () => {
      if (attempts++ > 0) return 'done';
      await queue.rateLimit(100);
      throw new RateLimitError();
    });
    worker.on('error', () => {});
    const job = await queue.add('wall', {});
    await until(async () => (await job.getState()) === 'completed', { what: 'the limited job to be completed', timeoutMs: 10_000 });
    expect((await queue.getJob(job.id as string))?.attemptsMade).toBe(1);
  });

  it('progress, logs, deduplication, removal and the rest of a queue', async () => {
    const [queue, events] = [queueOf('paint'), await eventsOf('paint')];
    const progress: unknown[] = [];
    events.on('progress', ({ data }) => progress.push(data));
    workerOf('paint', async (job) => {
      await job.updateProgress({ percent: 50 });
      await job.log('half');
      await job.updateData({ ...job.data, more: true });
    });
    const job = await queue.add('wall', { n: 1 }, { jobId: 'own' });
    await job.waitUntilFinished(events, 10_000);
    await until(() => progress.length === 1, { what: 'the progress' });
    expect(progress).toEqual([{ percent: 50 }]);
    expect(await queue.getJobLogs('own')).toEqual({ logs: ['half'], count: 1 });
    expect((await queue.getJob('own'))?.data).toEqual({ n: 1, more: true });
    await queue.pause();
    const first = await queue.add('wall', {}, { deduplication: { id: 'once', ttl: 60_000 } });
    const second = await queue.add('wall', {}, { deduplication: { id: 'once', ttl: 60_000 } });
    expect(second.id).toBe(first.id);
    expect(await queue.getDeduplicationJobId('once')).toBe(first.id);
    expect(await queue.getMeta()).toMatchObject({ paused: true });
    expect(await queue.getCompletedCount()).toBe(1);
    expect(await queue.remove(first.id as string)).toBe(1);
    expect(await queue.clean(0, 100, 'completed')).toEqual(['own']);
    await queue.addBulk(Array.from({ length: 50 }, (_, n) => ({ name: 'wall', data: { n } })));
    expect((await queue.getJobs(['wait'], 10, 19)).length).toBe(10);
    await queue.drain();
    expect(await queue.count()).toBe(0);
    await queue.obliterate({ force: true });
  });

  it('workers and listeners are found by the names of their connections', async () => {
    const queue = queueOf('paint');
    await workerOf('paint', async () => {}, { name: 'brush' }).waitUntilReady();
    await eventsOf('paint');
    await until(async () => (await queue.getQueueEvents()).length === 1, { what: 'the listener to be named' });
    expect((await queue.getWorkers()).map(({ rawname }) => rawname)).toEqual([
      `${backend.namespace}:${Buffer.from('paint').toString('base64')}:w:brush`,
    ]);
    expect(await queue.getWorkersCount()).toBe(1);
  });

  it('every key begins with the prefix of BullMQ, without the namespace of the manager', async () => {
    const manager = backend.manager({ namespace: 'elsewhere' });
    const queue = keep(new Queue('paint', { connection: bullmqConnection(manager), prefix: backend.namespace }));
    await queue.add('wall', {});
    const keys = await manager.command<string[]>('KEYS', '*');
    expect(keys.length).toBeGreaterThan(2);
    expect(keys.filter((key) => !key.startsWith(`${backend.namespace}:paint:`))).toEqual([]);
  });

  it('a waiting worker closes at once, and leaves the manager and the others as they are', async () => {
    const manager = backend.manager();
    const mine = bullmqConnection(manager);
    const make = () => keep(new Worker('paint', async () => 1, { ...options(), connection: mine, drainDelay: 300 }));
    const [first, second] = [make(), make()];
    const events = keep(new QueueEvents('paint', { ...options(), connection: mine, blockingTimeout: 300_000, lastEventId: '0' }));
    await Promise.all([first.waitUntilReady(), second.waitUntilReady(), events.waitUntilReady()]);
    const connections = () => manager.metrics().redis_connection_pool_size;
    await until(() => manager.metrics().redis_commands_pending >= 3, { what: 'three blocking reads' });
    expect(connections()).toBe(4);
    await within(1_500, first.close(), 'worker.close()');
    expect(connections()).toBe(3);
    const queue = keep(new Queue('paint', { ...options(), connection: mine }));
    const job = await queue.add('wall', {});
    expect(await job.waitUntilFinished(events, 5_000)).toBe(1);
    await within(1_500, Promise.all([second.close(), events.close(), queue.close()]), 'the rest to close');
    expect(connections()).toBe(1);
    expect(manager.state).toBe('ready');
    expect(mine.status).toBe('ready');
    expect(await manager.ping()).toBeGreaterThan(0);
  });
});
