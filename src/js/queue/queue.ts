/** The task queue: adds, reads and manages jobs; makes workers. */

import { checkFlag, jsonArgument, objectOf, optionsOf, refuseUnknown } from '../arguments.js';
import type { RedisConfig } from '../config.js';
import { configError } from '../errors.js';
import { internals } from '../internals.js';
import { verbs } from '../native.js';
import { optionsJson } from '../port.js';
import type { IRedisConnection } from '../ports.js';
import { inheritedCorrId } from './adding.js';
import type { Processor } from './attempt.js';
import type { TaskQueueEvents } from './events.js';
import { QueueInternals } from './internals.js';
import { endOf, type Job, type Snapshot, StoredJob, wellFormed } from './job.js';
import type {
  AddAndWaitOptions,
  CloseOptions,
  JobOptions,
  JobState,
  ListOptions,
  Schedule,
  ScheduledJob,
  ScheduleTimes,
  TaskQueueOptions,
  WorkerOptions,
} from './options.js';
import { parseStored } from './outcome.js';
import { TaskWorker } from './worker.js';

const V = verbs(
  'queue',
  'add',
  'addAndWait',
  'addBulk',
  'get',
  'list',
  'counts',
  'pause',
  'resume',
  'isPaused',
  'drain',
  'clean',
  'retryFailed',
  'obliterate',
  'schedule',
  'schedules',
  'unschedule',
);

const STATES = ['waiting', 'active', 'delayed', 'completed', 'failed', 'waiting-children'] as const;
/** How many jobs one atomic step adds. */
const STEP = 1_000;
/** How many steps run at once: enough to keep the server busy, and few enough to bound the memory for packed jobs. */
const STEPS_AT_ONCE = 3;
const DEFAULT_LIMIT = 100;

/**
 * A queue of jobs in Redis: any number of processes add jobs, read them and work on them.
 *
 * A job is done at least once. If its worker dies, the job goes to another one within `leaseMs` plus one sweep, with `stalledCount` one higher, and
 * fails after `maxStalls`. All times are the server's. Every write of a worker carries its lease, so a worker that lost its lease changes nothing.
 *
 * Of every method: a bad argument rejects with kind `config`, naming it, as do data of more than 16 MiB; data that JSON cannot express and damaged
 * stored text reject with `serialization`; any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery` says whether the server
 * may have acted. A queue object without listeners does not keep the process alive; one with listeners to the fleet, or with a running worker, does.
 *
 * @example
 * const queue = new TaskQueue<Mail>('mails', manager);
 * await queue.add('send', { to: 'ann@example.org' }, { attempts: 5 });
 * queue.process(async (job) => send(job.data));
 */
export class TaskQueue<T = unknown, R = unknown> {
  /** @internal */
  declare readonly [internals]: QueueInternals<R>;

  /**
   * Opens nothing: one manager serves any number of queues.
   *
   * @param name 1 to 512 bytes without control characters, `{` and `}`.
   * @param connection A manager, or a configuration. With a configuration the queue makes its own manager and closes it.
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(name: string, connection: IRedisConnection | RedisConfig, options?: TaskQueueOptions) {
    if (typeof connection !== 'object' || connection === null) {
      throw configError('TaskQueue: connection', 'a RedisConnectionManager or a RedisConfig', connection);
    }
    const queue = new QueueInternals<R>(name, connection, optionsOf('TaskQueue: options', options));
    Object.defineProperty(this, internals, { value: queue });
  }

  /** Its name. */
  get name(): string {
    return this[internals].name;
  }

  /**
   * Adds a job. Calls made at once go to the server together.
   *
   * @param name The kind of job, for the processor: 1 to 512 bytes.
   * @param data Anything that JSON can express, at most 16 MiB of it.
   * @returns The job; the existing job, unchanged, if the id or the dedupe id exists.
   * @throws RedisError of kind `config` for contradictory options, such as `lifo` with `priority`.
   */
  async add(name: string, data: T, options?: JobOptions): Promise<Job<T, R>> {
    const queue = this[internals];
    const text = jsonArgument('TaskQueue.add: data', data);
    const { text: chosen, state } = queue.packer.pack('TaskQueue.add', options, inheritedCorrId());
    const kept = wellFormed(name);
    const added = (await queue.call('TaskQueue.add', V.add, kept, text, chosen)) as unknown[];
    return queue.job<T>(added, 0, kept, text, chosen, state);
  }

  /**
   * Adds a job and waits until the job has finished. The call never misses the end, even of a job that is not kept (`keepCompleted: false`). If the
   * id or the dedupe id exists, the call waits for the existing job.
   *
   * @returns The result; `undefined` also for a job that was already over and not kept.
   * @throws JobFailedError when the job failed for good. RedisError as {@link add}, and of kind `timeout` after `timeoutMs`, 30 000 by default, or
   * `cancelled` when `signal` was aborted: an added job goes on; delivery `rejected` says that the job was added.
   */
  async addAndWait(name: string, data: T, options?: AddAndWaitOptions): Promise<R> {
    const what = 'TaskQueue.addAndWait';
    const { job, timeoutMs, signal, ...rest } = optionsOf(`${what}: options`, options);
    refuseUnknown(what, rest, ['job', 'timeoutMs', 'signal']);
    const queue = this[internals];
    const text = jsonArgument(`${what}: data`, data);
    const { text: chosen } = queue.packer.pack(what, job, inheritedCorrId());
    const wait = (number: number) => queue.call(what, V.addAndWait, number, timeoutMs, wellFormed(name), text, chosen);
    return (await endOf(queue, what, signal, wait)) as R;
  }

  /**
   * Adds any number of jobs, in order, in atomic steps of 1 000. If a step fails, other steps may have succeeded: give the jobs ids, and a second
   * call adds only the missing ones.
   */
  async addBulk(jobs: { name: string; data: T; options?: JobOptions | undefined }[]): Promise<Job<T, R>[]> {
    if (!Array.isArray(jobs)) throw configError('TaskQueue.addBulk: jobs', 'an array of jobs', jobs);
    const result = new Array<Job<T, R>>(jobs.length);
    let next = 0;
    let failed = false;
    const addSteps = async (): Promise<void> => {
      while (next < jobs.length && !failed) {
        const from = next;
        next += STEP;
        try {
          await addStep(this[internals], jobs, from, Math.min(next, jobs.length), result);
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    };
    const outcomes = await Promise.allSettled(Array.from({ length: STEPS_AT_ONCE }, addSteps));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    return result;
  }

  /** The job with this id, or `null`. */
  async getJob(id: string): Promise<Job<T, R> | null> {
    const queue = this[internals];
    const snapshot = (await queue.call('TaskQueue.getJob', V.get, wellFormed(id))) as Snapshot | null;
    return snapshot === null ? null : StoredJob.of<T, R>(queue, snapshot);
  }

  /**
   * Jobs of one or more states, one state after another: waiting jobs in the order of service, delayed jobs by their due time, others by the time
   * they entered the state. A job that changes its state meanwhile may be missing or come twice.
   */
  async list(state: JobState | JobState[], options?: ListOptions): Promise<Job<T, R>[]> {
    const { start = 0, limit = DEFAULT_LIMIT, newestFirst = false, ...rest } = optionsOf('TaskQueue.list: options', options);
    refuseUnknown('TaskQueue.list', rest, ['start', 'limit', 'newestFirst']);
    checkFlag('TaskQueue.list: newestFirst', newestFirst);
    const queue = this[internals];
    const states = Array.isArray(state) ? state : [state];
    const snapshots = (await queue.call('TaskQueue.list', V.list, start, limit, newestFirst, ...states)) as Snapshot[];
    return snapshots.map((snapshot) => StoredJob.of<T, R>(queue, snapshot));
  }

  /** How many jobs are in each state, at one moment. */
  async counts(): Promise<Record<JobState, number>> {
    const counts = (await this[internals].call('TaskQueue.counts', V.counts)) as number[];
    return Object.fromEntries(STATES.map((state, at) => [state, counts[at]])) as Record<JobState, number>;
  }

  /** From now on no worker, in any process, takes a job; running jobs go on. */
  pause(): Promise<void> {
    return this[internals].call('TaskQueue.pause', V.pause) as Promise<void>;
  }

  /** Ends {@link pause}. */
  resume(): Promise<void> {
    return this[internals].call('TaskQueue.resume', V.resume) as Promise<void>;
  }

  /** Is the queue paused? */
  isPaused(): Promise<boolean> {
    return this[internals].call('TaskQueue.isPaused', V.isPaused) as Promise<boolean>;
  }

  /** Removes every waiting job, with `delayed` also the delayed ones. Returns how many. */
  async drain(options?: { delayed?: boolean | undefined }): Promise<number> {
    const { delayed = false, ...rest } = optionsOf('TaskQueue.drain: options', options);
    refuseUnknown('TaskQueue.drain', rest, ['delayed']);
    checkFlag('TaskQueue.drain: delayed', delayed);
    return (await this[internals].call('TaskQueue.drain', V.drain, delayed)) as number;
  }

  /**
   * Removes finished jobs, oldest first. Returns how many.
   *
   * @param options `olderThanMs`: only jobs that finished at least this many milliseconds ago, default 0. `limit`: the most jobs to remove, default
   * all.
   */
  async clean(state: 'completed' | 'failed', options?: { olderThanMs?: number | undefined; limit?: number | undefined }): Promise<number> {
    const { olderThanMs, limit, ...rest } = optionsOf('TaskQueue.clean: options', options);
    refuseUnknown('TaskQueue.clean', rest, ['olderThanMs', 'limit']);
    return (await this[internals].call('TaskQueue.clean', V.clean, state, olderThanMs, limit)) as number;
  }

  /**
   * Retries failed jobs with all their attempts, oldest first; at most `limit`, default all. A parent waits for its children that have not completed.
   * Returns how many.
   */
  async retryFailed(options?: { limit?: number | undefined }): Promise<number> {
    const { limit, ...rest } = optionsOf('TaskQueue.retryFailed: options', options);
    refuseUnknown('TaskQueue.retryFailed', rest, ['limit']);
    return (await this[internals].call('TaskQueue.retryFailed', V.retryFailed, limit)) as number;
  }

  /**
   * Removes the queue from Redis: its jobs, schedules, settings and events. Parents in other queues no longer wait for its jobs. If it rejects, call
   * it again.
   *
   * @param options `force`: also while jobs are active; their attempts then lose their leases. Without `force` active jobs are an error of kind
   * `config`. Default false.
   */
  async obliterate(options?: { force?: boolean | undefined }): Promise<void> {
    const { force = false, ...rest } = optionsOf('TaskQueue.obliterate: options', options);
    refuseUnknown('TaskQueue.obliterate', rest, ['force']);
    checkFlag('TaskQueue.obliterate: force', force);
    await this[internals].call('TaskQueue.obliterate', V.obliterate, force);
  }

  /**
   * Adds a job at each tick, exactly once among all processes, while any worker of the queue runs. One tick makes up for all missed ticks. A schedule
   * with the same id is replaced; an unchanged schedule keeps its next tick.
   *
   * @param id 1 to 495 bytes without control characters.
   * @param when `everyMs`: from 1, counted from the first call. `cron`: `minute hour day month weekday`, with seconds in front if there are six
   * fields, or a name such as `@daily`; in the zone `tz`, default UTC. When summer time skips a tick of a line with named hours, the line ticks right
   * after the gap; when summer time repeats the hour, the line ticks once. A line with every hour goes on as an interval. The id of a tick's job is
   * the schedule's id, a colon, and the tick in milliseconds.
   * @throws RedisError of kind `config`: a bad cron line with the position of the error, an unknown zone.
   */
  async schedule(id: string, when: ScheduleTimes, job: ScheduledJob<T>): Promise<void> {
    const what = 'TaskQueue.schedule';
    const times = objectOf(`${what}: when`, when);
    const { name, data, options, ...rest } = objectOf(`${what}: job`, job);
    refuseUnknown(`${what}: job`, rest, ['name', 'data', 'options']);
    const text = jsonArgument(`${what}: job.data`, data);
    const queue = this[internals];
    const packed = queue.packer.pack(what, options);
    await queue.call(what, V.schedule, wellFormed(id), optionsJson(times), wellFormed(name), text, packed.text);
  }

  /** All schedules, by their next tick. */
  async schedules(): Promise<Schedule<T>[]> {
    const found = (await this[internals].call('TaskQueue.schedules', V.schedules)) as unknown[][];
    return found.map((values) => {
      const [id, when, name, data, options] = values as [string, string, string, string, string | null];
      const [nextAt, lastAt, ticks] = values.slice(5) as [number, number | null, number];
      const job: ScheduledJob<T> = { name, data: parseStored('Schedule.job.data', data) as T };
      if (typeof options === 'string') job.options = parseStored('Schedule.job.options', options) as JobOptions;
      const schedule = { id, when: parseStored('Schedule.when', when) as ScheduleTimes, job, nextAt, ticks };
      return lastAt === null ? schedule : { ...schedule, lastAt };
    });
  }

  /** Ends a schedule; its jobs stay. `false`: there was none. */
  unschedule(id: string): Promise<boolean> {
    return this[internals].call('TaskQueue.unschedule', V.unschedule, wellFormed(id)) as Promise<boolean>;
  }

  /**
   * Makes a worker, which runs `processor` on the queue's jobs.
   *
   * @throws RedisError of kind `config`, naming the option; `closed`.
   */
  process(processor: Processor<T, R>, options?: WorkerOptions): TaskWorker<T, R> {
    const queue = this[internals];
    queue.refuseClosed('TaskQueue.process');
    return new TaskWorker<T, R>(queue, processor, optionsOf('TaskQueue.process: options', options));
  }

  /**
   * Adds a listener. A listener that throws or rejects is reported as a process warning and affects no other. The first listener of a fleet event
   * makes the queue listen: after {@link ready} no event is missed.
   */
  on<E extends keyof TaskQueueEvents<R>>(event: E, listener: (...args: TaskQueueEvents<R>[E]) => unknown): this {
    const queue = this[internals];
    queue.refuseClosed('TaskQueue.on');
    queue.listeners.add(event, listener);
    queue.follow();
    return this;
  }

  /** Removes a listener. Without listeners of fleet events the queue stops listening. */
  off<E extends keyof TaskQueueEvents<R>>(event: E, listener: (...args: TaskQueueEvents<R>[E]) => unknown): this {
    const queue = this[internals];
    queue.listeners.remove(event, listener);
    queue.follow();
    return this;
  }

  /** Resolves when the listeners added so far miss no event from then on. */
  ready(): Promise<void> {
    return this[internals].live;
  }

  /**
   * Closes its workers (see {@link TaskWorker.close}); until then running processors may use the queue. Then stops listening, ends waits with kind
   * `closed`, and disconnects the manager if it is the queue's own. Later calls share the first call's outcome, and may shorten its `graceMs`. The
   * data in Redis stay.
   */
  close(options?: CloseOptions): Promise<void> {
    return this[internals].close(options);
  }

  /** The same as {@link close}. */
  cleanup(): Promise<void> {
    return this.close();
  }

  /** The same as {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

interface JobToAdd<T> {
  name: string;
  data: T;
  options?: JobOptions | undefined;
}

/** Adds `jobs` from place `from` up to, but without, `to`, in one atomic step. */
async function addStep<T, R>(queue: QueueInternals<R>, jobs: JobToAdd<T>[], from: number, to: number, result: Job<T, R>[]): Promise<void> {
  const args: unknown[] = [];
  const states: JobState[] = [];
  const corrId = inheritedCorrId();
  for (let at = from; at < to; at++) {
    const what = `TaskQueue.addBulk: jobs[${at}]`;
    const { name, data, options, ...rest } = objectOf(what, jobs[at] as JobToAdd<T>);
    refuseUnknown(what, rest, ['name', 'data', 'options']);
    const text = jsonArgument(`${what}.data`, data);
    const packed = queue.packer.pack(what, options, corrId);
    args.push(wellFormed(name), text, packed.text);
    states.push(packed.state);
  }
  const added = (await queue.call('TaskQueue.addBulk', V.addBulk, ...args)) as unknown[];
  for (let at = from; at < to; at++) {
    const place = at - from;
    const [name, text, chosen] = args.slice(place * 3, place * 3 + 3) as [string, string, string | undefined];
    result[at] = queue.job<T>(added, place * 2, name, text, chosen, states[place] as JobState);
  }
}
