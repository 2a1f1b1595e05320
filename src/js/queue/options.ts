/** Options of jobs, workers and schedules. Rust checks the values, and its errors name the option. */

import type { WorkerCommand, WorkerStatus } from '../registry-worker.js';

/**
 * The state of a job. `waiting`: a worker may take it. `active`: a worker holds it. `delayed`: its time has not come. `completed`, `failed`: it is
 * over. `waiting-children`: some of its children are not over, or the job that it follows (`dedupe` with `replace`) is not.
 */
export type JobState = 'waiting' | 'active' | 'delayed' | 'completed' | 'failed' | 'waiting-children';

/** The delay between a failed attempt and the next one. */
export interface Backoff {
  /** `fixed`: `delayMs` each time. `exponential`: `delayMs` after the first attempt, twice as long after each further one. */
  type: 'fixed' | 'exponential';
  /** Milliseconds, from 0. */
  delayMs: number;
  /** The longest delay, in milliseconds. Default: no bound. */
  maxDelayMs?: number | undefined;
  /** From 0 to 1: the share of the delay that is random. 0.5 gives between half of it and all of it. Default 0. */
  jitter?: number | undefined;
}

/** Which finished jobs are kept. `count`: this many of the newest. `ageMs`: those that finished at most this long ago. */
export interface KeepRule {
  /** The number of jobs, from 0. From 1 000 on, up to a twentieth more (at most 100) may stay until they are removed together. Default: no bound. */
  count?: number | undefined;
  /** Milliseconds, from 0. Default: no bound. */
  ageMs?: number | undefined;
}

/** A child that a job waits for; see {@link JobOptions.children}. */
export interface ChildJob {
  /** The child's queue, in the same namespace. Default: the parent's. */
  queue?: string | undefined;
  /** As in {@link TaskQueue.add}. */
  name: string;
  /** As in {@link TaskQueue.add}. */
  data: unknown;
  /** As in {@link TaskQueue.add}; children may have children. */
  options?: JobOptions | undefined;
}

/** Options of a job. Unknown names are refused; `undefined` counts as not given. */
export interface JobOptions {
  /**
   * 1 to 512 bytes without control characters, unique in the queue. Adding an id that exists, in any state, changes nothing and returns the existing
   * job. Default: a generated id.
   */
  id?: string | undefined;
  /** Milliseconds, from 0, until a worker may take the job. Default 0. */
  delayMs?: number | undefined;
  /** 0 to 2 097 151. Lower priorities are served first, equal ones in order of adding. Default 0. */
  priority?: number | undefined;
  /** `true` puts the job at the head of the queue. Excludes `priority` above 0 and `children`. Default false. */
  lifo?: boolean | undefined;
  /** The most attempts, from 1. An attempt that lost its lease counts in `stalledCount` instead. Default 1. */
  attempts?: number | undefined;
  /** The pause between attempts. Default: none. */
  backoff?: Backoff | undefined;
  /**
   * Milliseconds for one attempt, counted in Rust even while the event loop is blocked. After that `context.signal` is aborted and the
   * attempt has failed. Default: no bound.
   */
  timeoutMs?: number | undefined;
  /**
   * Is a completed job kept? `true`: for ever. `false`: it is removed, and only events have its result. Default: the 1 000 newest completed jobs are
   * kept.
   */
  keepCompleted?: boolean | KeepRule | undefined;
  /** Is a job kept that has failed for good? The values are those of `keepCompleted`. Default: the 10 000 newest failed jobs are kept. */
  keepFailed?: boolean | KeepRule | undefined;
  /**
   * While a job with this dedupe `id` is not over, and for `ttlMs` after it was added, adding another job with the id returns the existing job. If
   * the existing job is over and was not kept, the returned job has the name and data of this call, and no result. Removing the job frees the id.
   *
   * With `replace` the newest data counts. A waiting or delayed job is removed, and the new job is added. A job that is active, or waits for
   * children, goes on. The new job then follows the existing job: it is `waiting-children` until the existing job has completed, failed or been
   * removed. If several new jobs are added meanwhile, only the last follows. If the existing job is over and `ttlMs` has not passed, it is returned
   * even with `replace`.
   */
  dedupe?: { id: string; ttlMs?: number | undefined; replace?: boolean | undefined } | undefined;
  /**
   * Groups are served in turn, so that a large group does not hold up a small one. {@link WorkerOptions.groupConcurrency} bounds how many jobs of a
   * group run at once in the fleet.
   */
  group?: string | undefined;
  /**
   * Jobs, in this or other queues, that must complete before this job waits for a worker. They are added with this job, all or none per queue; at
   * most 10 000, nested through at most 16 queues. A child that exists already, by its `id` or `dedupe`, stays as it is. A removed child is no longer
   * waited for. A child that fails also fails this job; a retried parent waits until the failed child is retried and completes. Excludes `delayMs`
   * and `lifo`.
   */
  children?: ChildJob[] | undefined;
  /**
   * The correlation id, 1 to 512 bytes without control characters: the {@link correlation} in its processor, so that messages published and jobs
   * added there get it too. Default: the correlation at the place of the call; a schedule's jobs and `children` do not inherit it.
   */
  corrId?: string | undefined;
}

/**
 * When a schedule ticks. `cron`: five fields, or six with seconds first; `tz`: an IANA zone, default UTC. `everyMs`: milliseconds, counted from the
 * time when the schedule was first made.
 */
export type ScheduleTimes = { everyMs: number } | { cron: string; tz?: string | undefined };

/** The job that a {@link TaskQueue.schedule} adds at each tick. */
export interface ScheduledJob<T = unknown> {
  /** As in {@link TaskQueue.add}. */
  name: string;
  /** As in {@link TaskQueue.add}. */
  data: T;
  /** As in {@link TaskQueue.add}, without `id`, `dedupe` and `children`: every tick adds a job of its own. `delayMs` counts from the tick. */
  options?: JobOptions | undefined;
}

/** A schedule and its state. */
export interface Schedule<T = unknown> {
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly id: string;
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly when: ScheduleTimes;
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly job: ScheduledJob<T>;
  /** The next tick, in milliseconds since the epoch, by the server's clock. */
  readonly nextAt: number;
  /** The last tick, in the same unit; `undefined` before the first tick. */
  readonly lastAt?: number | undefined;
  /** The number of ticks so far. */
  readonly ticks: number;
}

/** Options of a {@link TaskQueue}. Unknown names are refused. */
export interface TaskQueueOptions {
  /** A prefix of every key of this queue, inside the manager's namespace; a colon follows each of the two. Default: none. */
  namespace?: string | undefined;
  /** Options of jobs that do not set their own. */
  defaultJobOptions?: JobOptions | undefined;
}

/** Options of {@link TaskQueue.list}. */
export interface ListOptions {
  /** The number of jobs to skip, from 0. Default 0. */
  start?: number | undefined;
  /** The most jobs to return, from 0. Default 100. */
  limit?: number | undefined;
  /** `true` reverses each state's order. Default false. */
  newestFirst?: boolean | undefined;
}

/** Options of {@link Job.waitUntilFinished}. */
export interface WaitOptions {
  /** Milliseconds, from 0. Default 30 000, then kind `timeout`. */
  timeoutMs?: number | undefined;
  /** Ends the wait with kind `cancelled`; the job goes on. */
  signal?: AbortSignal | undefined;
}

/** Options of {@link TaskQueue.addAndWait}. */
export interface AddAndWaitOptions extends WaitOptions {
  /** Options of the job; its own `timeoutMs` bounds an attempt. */
  job?: JobOptions | undefined;
}

/** Options of {@link TaskWorker.close} and {@link TaskQueue.close}. */
export interface CloseOptions {
  /**
   * Milliseconds, from 0, for the running jobs to finish. After that the signals of the other jobs are aborted, and the jobs are handed back to the
   * queue, which takes at most 2 s more. Default 30 000.
   */
  graceMs?: number | undefined;
}

/** The methods of a registry that a worker uses; a {@link WorkerRegistry} has them. */
export interface TaskWorkerRegistry {
  /** Called when the worker starts. */
  register(worker: {
    type?: string | undefined;
    capacity?: number | undefined;
    metadata?: Record<string, unknown> | undefined;
  }): Promise<{ id: string; epoch: number }>;
  /** Called with the new status and the load when the worker's status changes. */
  heartbeat(id: string, update?: { status?: WorkerStatus | undefined; load?: number | undefined }): Promise<boolean>;
  /** Sends a load with the next heartbeat. Without this method only changes of the status are sent. */
  report?(id: string, now: { load: number }): void;
  /** Called when the worker has closed. */
  unregister(id: string): Promise<boolean>;
  /**
   * `command`: `pause` and `resume` call {@link TaskWorker.pause} and `resume`; `drain` and `shutdown` close the worker. `fenced`: the
   * registration was lost; `next` is the new one, if any.
   */
  on?(event: 'command', listener: (command: WorkerCommand, worker: { id: string }) => unknown): unknown;
  /** `next` is the registration that the registry made in place of the lost one, if it made one. */
  on?(event: 'fenced', listener: (worker: { id: string }, next: { id: string; epoch: number } | null) => unknown): unknown;
  /** Called with the listeners that were given to `on`, when the worker has closed. */
  off?(event: 'command' | 'fenced', listener: never): unknown;
}

/** Options of {@link TaskQueue.process}. Unknown names are refused. */
export interface WorkerOptions {
  /** How many jobs the worker holds at once, from 1 to 10 000. Default 1. */
  concurrency?: number | undefined;
  /**
   * Milliseconds, from 1 000 to 2 147 483 647. Rust renews the leases of running jobs, even while the event loop is blocked. When this process is
   * gone, its jobs go to other workers within this time plus one sweep. Default 30 000.
   */
  leaseMs?: number | undefined;
  /** How often a job may lose its worker before it fails, from 0 to 1 000. Default 1. */
  maxStalls?: number | undefined;
  /** At most `max` jobs are started within `perMs` milliseconds, by all workers of the queue together. Default: no bound. */
  rateLimit?: { max: number; perMs: number } | undefined;
  /** How many jobs of one {@link JobOptions.group} run at once, in the fleet; from 1. Default: no bound. */
  groupConcurrency?: number | undefined;
  /** `false`: the worker starts with {@link TaskWorker.run}. Default true. */
  autorun?: boolean | undefined;
  /**
   * The registry in which the worker registers itself: its type is the queue's name, its capacity is its concurrency. The worker keeps its load
   * (running jobs / concurrency) and status current, and unregisters when it is closed. When a registry on the same manager declares the worker
   * crashed, its jobs go to other workers at once, instead of at the end of its lease. If the registry cannot be reached, the worker goes on, emits
   * `error` and tries again.
   */
  registry?: TaskWorkerRegistry | undefined;
}
