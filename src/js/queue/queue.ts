/** The task queue: jobs added, looked at and managed; workers made. */

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
import { Home } from './home.js';
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
/** Jobs of one atomic step. */
const STEP = 1_000;
/** Steps under way at once: enough that the server need not wait, few enough that little is in memory twice. */
const STEPS_AT_ONCE = 3;
const DEFAULT_LIMIT = 100;

/**
 * A queue of jobs, in Redis: any number of processes add to it, look at it and work on it.
 *
 * A job is done at least once. One whose worker died is given to another within `leaseMs` plus one sweep, `stalledCount` up, and fails after
 * `maxStalls`. All times are the server's. Every write of a worker carries its lease, so one that lost it changes nothing.
 *
 * Of every method: a bad argument rejects with kind `config`, naming it, so do data that JSON cannot express, or of more than 16 MiB;
 * stored text that is damaged with `serialization`; any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery` says whether the server may have
 * acted. A queue object without listeners does not keep the process alive; one with listeners to the fleet, or with a running worker, does.
 */
export class TaskQueue<T = unknown, R = unknown> {
  /** @internal */
  declare readonly [internals]: Home<R>;

  /**
   * Opens nothing: any number of queues may be on one manager.
   *
   * @param name 1 to 512 bytes without control characters, `{` and `}`.
   * @param connection A manager, or a configuration: then the queue has a manager of its own, which is closed with it.
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(name: string, connection: IRedisConnection | RedisConfig, options?: TaskQueueOptions) {
    if (typeof connection !== 'object' || connection === null) {
      throw configError('TaskQueue: connection', 'a RedisConnectionManager or a RedisConfig', connection);
    }
    const inside = new Home<R>(name, connection, optionsOf('TaskQueue: options', options));
    Object.defineProperty(this, internals, { value: inside });
  }

  /** Its name. */
  get name(): string {
    return this[internals].name;
  }

  /**
   * Adds a job. Calls made at once go to the server together.
   *
   * @param name What kind of job it is, for the processor: 1 to 512 bytes.
   * @param data Anything that JSON can express, at most 16 MiB of it.
   * @returns The job; the existing one, changed in nothing, where the id or the dedupe id exists.
   * @throws RedisError of kind `config` for contradictory options, such as `lifo` with `priority`.
   */
  async add(name: string, data: T, options?: JobOptions): Promise<Job<T, R>> {
    const inside = this[internals];
    const text = jsonArgument('TaskQueue.add: data', data);
    const { text: chosen, state } = inside.packer.pack('TaskQueue.add', options, inheritedCorrId());
    const kept = wellFormed(name);
    const added = (await inside.call('TaskQueue.add', V.add, kept, text, chosen)) as unknown[];
    return inside.job<T>(added, 0, kept, text, chosen, state);
  }

  /**
   * Adds a job and waits until it has finished: its end is heard however soon it comes, also where it does not stay (`keepCompleted: false`). Where the id or
   * the dedupe id exists, it waits for that job.
   *
   * @returns The result; `undefined` also for a job that was over and has not stayed.
   * @throws JobFailedError when it failed for good. RedisError as {@link add}, and of kind `timeout` after `timeoutMs`, 30 000 by default, or `cancelled`
   * when `signal` was aborted: the job, if it was added, goes on; with delivery `rejected` it was.
   */
  async addAndWait(name: string, data: T, options?: AddAndWaitOptions): Promise<R> {
    const what = 'TaskQueue.addAndWait';
    const { job, timeoutMs, signal, ...rest } = optionsOf(`${what}: options`, options);
    refuseUnknown(what, rest, ['job', 'timeoutMs', 'signal']);
    const inside = this[internals];
    const text = jsonArgument(`${what}: data`, data);
    const { text: chosen } = inside.packer.pack(what, job, inheritedCorrId());
    const wait = (number: number) => inside.call(what, V.addAndWait, number, timeoutMs, wellFormed(name), text, chosen);
    return (await endOf(inside, what, signal, wait)) as R;
  }

  /**
   * Adds any number of jobs, in order, in atomic steps of 1 000. When a step fails the jobs of the others may have been added: give the jobs ids,
   * and adding them all again adds what is missing.
   */
  async addBulk(jobs: { name: string; data: T; options?: JobOptions | undefined }[]): Promise<Job<T, R>[]> {
    if (!Array.isArray(jobs)) throw configError('TaskQueue.addBulk: jobs', 'an array of jobs', jobs);
    const made = new Array<Job<T, R>>(jobs.length);
    let next = 0;
    let failed = false;
    const lane = async (): Promise<void> => {
      while (next < jobs.length && !failed) {
        const from = next;
        next += STEP;
        try {
          await addStep(this[internals], jobs, from, Math.min(next, jobs.length), made);
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: STEPS_AT_ONCE }, lane));
    for (const outcome of lanes) if (outcome.status === 'rejected') throw outcome.reason;
    return made;
  }

  /** The job of that id, or `null`. */
  async getJob(id: string): Promise<Job<T, R> | null> {
    const inside = this[internals];
    const snapshot = (await inside.call('TaskQueue.getJob', V.get, wellFormed(id))) as Snapshot | null;
    return snapshot === null ? null : StoredJob.of<T, R>(inside, snapshot);
  }

  /**
   * Jobs of one or more states, one state after another: waiting ones in the order in which they will be served, delayed ones by the time they are
   * due, the others by the time they came into that state. A job that changes its state meanwhile may be missing or come twice.
   */
  async list(state: JobState | JobState[], options?: ListOptions): Promise<Job<T, R>[]> {
    const { start = 0, limit = DEFAULT_LIMIT, newestFirst = false, ...rest } = optionsOf('TaskQueue.list: options', options);
    refuseUnknown('TaskQueue.list', rest, ['start', 'limit', 'newestFirst']);
    checkFlag('TaskQueue.list: newestFirst', newestFirst);
    const inside = this[internals];
    const states = Array.isArray(state) ? state : [state];
    const snapshots = (await inside.call('TaskQueue.list', V.list, start, limit, newestFirst, ...states)) as Snapshot[];
    return snapshots.map((snapshot) => StoredJob.of<T, R>(inside, snapshot));
  }

  /** How many jobs are in each state, all of one moment. */
  async counts(): Promise<Record<JobState, number>> {
    const counts = (await this[internals].call('TaskQueue.counts', V.counts)) as number[];
    return Object.fromEntries(STATES.map((state, at) => [state, counts[at]])) as Record<JobState, number>;
  }

  /** No worker of the fleet takes a job from now on; those in hand go on. */
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

  /** Removes every waiting job, with `delayed` also the delayed ones. Gives how many. */
  async drain(options?: { delayed?: boolean | undefined }): Promise<number> {
    const { delayed = false, ...rest } = optionsOf('TaskQueue.drain: options', options);
    refuseUnknown('TaskQueue.drain', rest, ['delayed']);
    checkFlag('TaskQueue.drain: delayed', delayed);
    return (await this[internals].call('TaskQueue.drain', V.drain, delayed)) as number;
  }

  /**
   * Removes finished jobs, oldest first. Gives how many.
   *
   * @param options `olderThanMs`: only those that finished at least so many milliseconds ago, default 0. `limit`: at most so many, default all.
   */
  async clean(state: 'completed' | 'failed', options?: { olderThanMs?: number | undefined; limit?: number | undefined }): Promise<number> {
    const { olderThanMs, limit, ...rest } = optionsOf('TaskQueue.clean: options', options);
    refuseUnknown('TaskQueue.clean', rest, ['olderThanMs', 'limit']);
    return (await this[internals].call('TaskQueue.clean', V.clean, state, olderThanMs, limit)) as number;
  }

  /**
   * Puts failed jobs back to wait, their attempts counted anew, oldest first; at most `limit`, default all. A parent waits for those of its children that
   * have not completed. Gives how many.
   */
  async retryFailed(options?: { limit?: number | undefined }): Promise<number> {
    const { limit, ...rest } = optionsOf('TaskQueue.retryFailed: options', options);
    refuseUnknown('TaskQueue.retryFailed', rest, ['limit']);
    return (await this[internals].call('TaskQueue.retryFailed', V.retryFailed, limit)) as number;
  }

  /**
   * Removes the queue from Redis: its jobs, schedules, settings and events. Parents in other queues wait for its jobs no longer. Where it rejects, call it again.
   *
   * @param options `force`: also while jobs are active, whose attempts then lose their leases; without it that is kind `config`. Default false.
   */
  async obliterate(options?: { force?: boolean | undefined }): Promise<void> {
    const { force = false, ...rest } = optionsOf('TaskQueue.obliterate: options', options);
    refuseUnknown('TaskQueue.obliterate', rest, ['force']);
    checkFlag('TaskQueue.obliterate: force', force);
    await this[internals].call('TaskQueue.obliterate', V.obliterate, force);
  }

  /**
   * Has a job added at each tick, exactly once in the whole fleet, for as long as any worker of the queue runs. Ticks that were missed meanwhile
   * are made up for by one. A schedule of that id is replaced; an unchanged one keeps its next tick.
   *
   * @param id 1 to 495 bytes without control characters.
   * @param when `everyMs`: from 1, counted from the time it is first given. `cron`: `minute hour day month weekday`, with seconds in front if there
   * are six fields, or a name such as `@daily`; in the zone `tz`, default UTC. Times of named hours that summer time leaves out are one tick right after
   * the gap, and tick once where they are repeated; a line of every hour goes on as an interval. The id of a tick's job is the schedule's id, a colon, and the tick in milliseconds.
   * @throws RedisError of kind `config`: a bad cron line with the position of the error, an unknown zone.
   */
  async schedule(id: string, when: ScheduleTimes, job: ScheduledJob<T>): Promise<void> {
    const what = 'TaskQueue.schedule';
    const times = objectOf(`${what}: when`, when);
    const { name, data, options, ...rest } = objectOf(`${what}: job`, job);
    refuseUnknown(`${what}: job`, rest, ['name', 'data', 'options']);
    const text = jsonArgument(`${what}: job.data`, data);
    const inside = this[internals];
    const packed = inside.packer.pack(what, options);
    await inside.call(what, V.schedule, wellFormed(id), optionsJson(times), wellFormed(name), text, packed.text);
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

  /** Ends a schedule; the jobs it has added stay. `false`: there was none. */
  unschedule(id: string): Promise<boolean> {
    return this[internals].call('TaskQueue.unschedule', V.unschedule, wellFormed(id)) as Promise<boolean>;
  }

  /**
   * Makes a worker, which runs `processor` on the queue's jobs.
   *
   * @throws RedisError of kind `config`, naming the option; `closed`.
   */
  process(processor: Processor<T, R>, options?: WorkerOptions): TaskWorker<T, R> {
    const inside = this[internals];
    inside.refuseClosed('TaskQueue.process');
    return new TaskWorker<T, R>(inside, processor, optionsOf('TaskQueue.process: options', options));
  }

  /**
   * Adds a listener. One that throws is reported as a process warning; it affects nobody else. The first one to an event of the fleet begins to
   * listen there: {@link ready} says when nothing is missed any more.
   */
  on<E extends keyof TaskQueueEvents<R>>(event: E, listener: (...args: TaskQueueEvents<R>[E]) => unknown): this {
    const inside = this[internals];
    inside.refuseClosed('TaskQueue.on');
    inside.listeners.add(event, listener);
    inside.follow();
    return this;
  }

  /** Removes a listener. With the last one to an event of the fleet the queue stops listening there. */
  off<E extends keyof TaskQueueEvents<R>>(event: E, listener: (...args: TaskQueueEvents<R>[E]) => unknown): this {
    const inside = this[internals];
    inside.listeners.remove(event, listener);
    inside.follow();
    return this;
  }

  /** Resolves when the listeners added so far hear everything that happens from then on. */
  ready(): Promise<void> {
    return this[internals].live;
  }

  /**
   * Closes its workers (see {@link TaskWorker.close}), until when processors in hand may use the queue; then stops listening, ends waits with kind `closed`, and disconnects the manager if it is the
   * queue's own. Later calls share the first one's outcome, and may shorten its `graceMs`. What is in Redis stays.
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

/** Adds `jobs` from place `from` up to, without, `to`, in one atomic step. */
async function addStep<T, R>(inside: Home<R>, jobs: JobToAdd<T>[], from: number, to: number, made: Job<T, R>[]): Promise<void> {
  const args: unknown[] = [];
  const states: JobState[] = [];
  const corrId = inheritedCorrId();
  for (let at = from; at < to; at++) {
    const what = `TaskQueue.addBulk: jobs[${at}]`;
    const { name, data, options, ...rest } = objectOf(what, jobs[at] as JobToAdd<T>);
    refuseUnknown(what, rest, ['name', 'data', 'options']);
    const text = jsonArgument(`${what}.data`, data);
    const packed = inside.packer.pack(what, options, corrId);
    args.push(wellFormed(name), text, packed.text);
    states.push(packed.state);
  }
  const added = (await inside.call('TaskQueue.addBulk', V.addBulk, ...args)) as unknown[];
  for (let at = from; at < to; at++) {
    const place = at - from;
    const [name, text, chosen] = args.slice(place * 3, place * 3 + 3) as [string, string, string | undefined];
    made[at] = inside.job<T>(added, place * 2, name, text, chosen, states[place] as JobState);
  }
}
