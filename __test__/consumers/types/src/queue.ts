/** Every method of the task queue, as a strict user writes them. */
import {
  DelayError,
  type Job,
  JobFailedError,
  type JobOptions,
  type JobState,
  type Processor,
  type RedisConnectionManager,
  type RedisError,
  type Schedule,
  TaskQueue,
  type TaskWorker,
  UnrecoverableError,
  type WorkerOptions,
  type WorkerRegistry,
} from 'redis-backplane';

interface Mail {
  to: string;
}
interface Sent {
  messageId: string;
}

export async function produce(redis: RedisConnectionManager): Promise<void> {
  const defaults: JobOptions = { attempts: 3, backoff: { type: 'exponential', delayMs: 100, maxDelayMs: 10_000, jitter: 0.5 } };
  const queue = new TaskQueue<Mail, Sent>('mails', redis, { namespace: 'shop', defaultJobOptions: defaults });
  const untyped: TaskQueue = new TaskQueue('anything', { url: 'memory://types' });
  await untyped.add('x', { any: ['thing'] });

  const job: Job<Mail, Sent> = await queue.add('welcome', { to: 'ada' }, { id: 'a', delayMs: 10, priority: 3, group: 'g', corrId: 'c' });
  const jobs: Job<Mail, Sent>[] = await queue.addBulk([
    { name: 'welcome', data: { to: 'ada' } },
    {
      name: 'bye',
      data: { to: 'bob' },
      options: { keepCompleted: false, keepFailed: { count: 10, ageMs: 1_000 }, dedupe: { id: 'd', ttlMs: 10 } },
    },
  ]);
  await queue.add(
    'parent',
    { to: 'ada' },
    {
      children: [
        { queue: 'other', name: 'child', data: 1, options: { lifo: true } },
        { name: 'x', data: null },
      ],
    },
  );
  const found: Job<Mail, Sent> | null = await queue.getJob('a');
  const listed: Job<Mail, Sent>[] = [
    ...(await queue.list('waiting')),
    ...(await queue.list(['failed', 'completed'], { start: 0, limit: 10, newestFirst: true })),
  ];
  const counts: Record<JobState, number> = await queue.counts();
  await queue.pause();
  await queue.resume();
  const paused: boolean = await queue.isPaused();
  const removed: number[] = [
    await queue.drain(),
    await queue.drain({ delayed: true }),
    await queue.clean('failed', { olderThanMs: 1_000, limit: 5 }),
    await queue.retryFailed({ limit: 5 }),
  ];
  await queue.obliterate({ force: true });
  await queue.schedule(
    'daily',
    { cron: '0 12 * * *', tz: 'Europe/Berlin' },
    { name: 'digest', data: { to: 'all' }, options: { attempts: 2 } },
  );
  await queue.schedule('often', { everyMs: 1_000 }, { name: 'digest', data: { to: 'all' } });
  const schedules: Schedule<Mail>[] = await queue.schedules();
  const ended: boolean = await queue.unschedule('daily');

  const [to, sent]: [string, Sent | undefined] = [job.data.to, job.result];
  await job.updateData({ to: 'eve' });
  await job.updateProgress({ percent: 5 });
  const lines: number = await job.log('line');
  const log: string[] = await job.logs();
  const fresh: Job<Mail, Sent> | null = await job.refresh();
  await job.retry();
  await job.promote();
  await job.changeDelay(5);
  await job.changePriority(5);
  const done: boolean[] = [await job.remove(), await job.cancel(), await job.cancel('why')];
  try {
    const result: Sent = await job.waitUntilFinished({ timeoutMs: 1_000, signal: AbortSignal.timeout(10) });
    console.log(result.messageId);
  } catch (error) {
    if (error instanceof JobFailedError) console.log(error.jobId, error.message);
  }

  const completed = ({ jobId, result }: { jobId: string; result?: Sent }): void => console.log(jobId, result?.messageId);
  queue.on('completed', completed).on('failed', ({ jobId, reason }) => console.log(jobId, reason));
  queue.on('retrying', ({ delayMs, attemptsMade }) => console.log(delayMs + attemptsMade));
  queue.on('gap', ({ missed }) => console.log(missed ?? 0)).on('error', (error: RedisError) => console.log(error.code));
  queue.off('completed', completed);
  await queue.ready();
  await queue.close({ graceMs: 5 });
  await queue.cleanup();
  await using disposed = new TaskQueue('x', redis);
  console.log(jobs, found, listed, counts, paused, removed, schedules, ended, to, sent, lines, log, fresh, done, disposed);
}

export async function work(queue: TaskQueue<Mail, Sent>, registry: WorkerRegistry): Promise<void> {
  const options: WorkerOptions = { concurrency: 5, leaseMs: 5_000, maxStalls: 2, rateLimit: { max: 5, perMs: 1_000 }, registry };
  const send: Processor<Mail, Sent> = async (job, { signal, attempt, children }) => {
    signal.throwIfAborted();
    if (attempt === 1) throw new DelayError(5);
    if (job.name === 'bad') throw new UnrecoverableError('bad', { cause: await children() });
    return { messageId: job.data.to };
  };
  const worker: TaskWorker<Mail, Sent> = queue.process(send, options);
  queue.process((job) => ({ messageId: job.id }), { autorun: false, groupConcurrency: 2 });
  worker.run();
  await worker.pause();
  worker.resume();
  const running: boolean = worker.isRunning();
  worker
    .on('completed', (job, { messageId }) => console.log(job.data.to, messageId))
    .on('failed', (job, error) => console.log(job.id, error));
  worker.on('idle', () => {}).on('error', (error: RedisError) => console.log(error.message));
  const graceful: boolean = await worker.close({ graceMs: 10 });
  await using another = queue.process(send);
  console.log(running, graceful, another);

  // @ts-expect-error the data are of the queue's type
  await queue.add('x', { from: 'ada' });
  // @ts-expect-error an option that does not exist
  await queue.add('x', { to: 'ada' }, { delay: 5 });
  // @ts-expect-error a processor gives the queue's result
  queue.process(() => 'sent');
  // @ts-expect-error there is no such state
  await queue.list('paused');
  // @ts-expect-error there is no such event
  queue.on('complete', () => {});
  // @ts-expect-error either an interval or a cron line
  await queue.schedule('s', { tz: 'UTC' }, { name: 'x', data: { to: 'ada' } });
}
