/** What a user may say about jobs, workers and schedules. The values are checked in Rust, by name. */

import type { WorkerCommand, WorkerStatus } from '../registry-worker.js';

/**
 * Where a job is. `waiting`: a worker may take it. `active`: a worker holds it. `delayed`: its time has not come. `completed`, `failed`:
 * it is over. `waiting-children`: some of its children are not over, or the job that it follows (`dedupe` with `replace`).
 */
export type JobState = 'waiting' | 'active' | 'delayed' | 'completed' | 'failed' | 'waiting-children';

/** How long a failed attempt's job waits for its next one. */
export interface Backoff {
  /** `fixed`: `delayMs` each time. `exponential`: `delayMs` after the first attempt, twice as long after each further one. */
  type: 'fixed' | 'exponential';
  /** Milliseconds, from 0. */
  delayMs: number;
  /** Milliseconds: no delay is longer. Default: no bound. */
  maxDelayMs?: number | undefined;
  /** From 0 to 1: the share of the delay that is random. 0.5 gives between half of it and all of it. Default 0. */
  jitter?: number | undefined;
}

/** Which finished jobs stay. `count`: so many of the newest. `ageMs`: those that finished at most so many milliseconds ago. */
export interface KeepRule {
  /** The newest so many, from 0; of 1 000 and more up to a twentieth more, at most 100, until those go together. Default: no bound. */
  count?: number | undefined;
  /** Milliseconds, from 0. Default: no bound. */
  ageMs?: number | undefined;
}

/** One of the children that a job waits for; see {@link JobOptions.children}. */
export interface ChildJob {
  /** The queue it goes to, in the same namespace. Default: the parent's. */
  queue?: string | undefined;
  /** As in {@link TaskQueue.add}. */
  name: string;
  /** As in {@link TaskQueue.add}. */
  data: unknown;
  /** As in {@link TaskQueue.add}; children may have children. */
  options?: JobOptions | undefined;
}

/** Options of a job. Unknown names are refused; one that is `undefined` counts as not given. */
export interface JobOptions {
  /**
   * 1 to 512 bytes without control characters, unique in the queue. Adding an id that exists, in whatever state, changes nothing and gives
   * the existing job. Default: one that the package makes.
   */
  id?: string | undefined;
  /** Milliseconds, from 0, before which no worker gets it. Default 0. */
  delayMs?: number | undefined;
  /** 0 to 2 097 151; lower ones are served first, equal ones in order of adding. Default 0. */
  priority?: number | undefined;
  /** `true` puts it at the head of the queue. Excludes `priority` above 0 and `children`. Default false. */
  lifo?: boolean | undefined;
  /** How often it is tried at most, from 1. An attempt that lost its lease counts in `stalledCount` instead. Default 1. */
  attempts?: number | undefined;
  /** The pause between attempts. Default: none. */
  backoff?: Backoff | undefined;
  /** Milliseconds for one attempt, counted in Rust, blocked event loop or not; then `context.signal` is aborted and the attempt has failed. Default: no bound. */
  timeoutMs?: number | undefined;
  /** Does it stay when it has completed? `true`: for ever. `false`: not at all; its result is only in events. Default: the 1 000 newest. */
  keepCompleted?: boolean | KeepRule | undefined;
  /** Does it stay when it has failed for good? Default: the 10 000 newest. */
  keepFailed?: boolean | KeepRule | undefined;
  /**
   * While a job of this `id` is in the queue and not over, and for `ttlMs` after it was added, adding another one gives that job instead; where it is
   * over and was not kept, with the name and data of this call, and without its result. Removing the job frees the id.
   *
   * With `replace` the newest data counts. A job that waits or is delayed is removed, and the new one is added. One that is active, or waits for
   * children, goes on, and the new one follows it: it is `waiting-children` until that is over, however that ends; of several the last one.
   * Where the job is over and `ttlMs` has not passed, that job is given all the same.
   */
  dedupe?: { id: string; ttlMs?: number | undefined; replace?: boolean | undefined } | undefined;
  /**
   * Jobs of one group are served in turn with other groups', so that many of one do not hold up the few of another; with
   * {@link WorkerOptions.groupConcurrency} at most so many of it run at once in the fleet.
   */
  group?: string | undefined;
  /**
   * Jobs, here or in other queues, that must complete before this one waits for a worker. They are added with it, all or none per queue; at most 10 000, in at most 16 queues after
   * one another. One that is there already, by its `id` or `dedupe`, is waited for as it is; one that is removed is waited for no longer; one that fails fails this job too, which, when it is retried, waits for it to be retried and complete.
   * Excludes `delayMs` and `lifo`.
   */
  children?: ChildJob[] | undefined;
  /**
   * What it belongs to, 1 to 512 bytes without control characters: the {@link correlation} in its processor, so that messages published and jobs added
   * there get it too. Default: that of where it is added, which a schedule's jobs and `children` do not inherit.
   */
  corrId?: string | undefined;
}

/** When a schedule ticks. `cron`: five fields, or six with seconds first; `tz`: an IANA zone, default UTC. `everyMs`: from the time it was first given on. */
export type ScheduleTimes = { everyMs: number } | { cron: string; tz?: string | undefined };

/** A job that a {@link TaskQueue.schedule} adds at each tick. */
export interface ScheduledJob<T = unknown> {
  /** As in {@link TaskQueue.add}. */
  name: string;
  /** As in {@link TaskQueue.add}. */
  data: T;
  /** As in {@link TaskQueue.add}, but for `id`, `dedupe` and `children`: every tick adds a job of its own. `delayMs` counts from the tick on. */
  options?: JobOptions | undefined;
}

/** A schedule, as it stands. */
export interface Schedule<T = unknown> {
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly id: string;
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly when: ScheduleTimes;
  /** As it was given to {@link TaskQueue.schedule}. */
  readonly job: ScheduledJob<T>;
  /** Its next tick, in milliseconds since the epoch, by the server's clock. */
  readonly nextAt: number;
  /** Its last tick. */
  readonly lastAt?: number | undefined;
  /** How often it has ticked. */
  readonly ticks: number;
}

/** Options of a {@link TaskQueue}. Unknown names are refused. */
export interface TaskQueueOptions {
  /** A prefix of every key of this queue, inside the manager's namespace; a colon follows each of the two. Default: none. */
  namespace?: string | undefined;
  /** What a job has where its own options say nothing. */
  defaultJobOptions?: JobOptions | undefined;
}

/** Options of {@link TaskQueue.list}. */
export interface ListOptions {
  /** How many to skip, from 0. Default 0. */
  start?: number | undefined;
  /** How many at most, from 0. Default 100. */
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
  /** Those of the job, whose own `timeoutMs` is that of an attempt. */
  job?: JobOptions | undefined;
}

/** Options of {@link TaskWorker.close} and {@link TaskQueue.close}. */
export interface CloseOptions {
  /** Milliseconds for the jobs in hand to finish, from 0; what is left then is handed back at once and its signal aborted, which takes at most 2 s more. Default 30 000. */
  graceMs?: number | undefined;
}

/** What a worker needs of a {@link WorkerRegistry}, which is one. */
export interface TaskWorkerRegistry {
  register(worker: {
    type?: string | undefined;
    capacity?: number | undefined;
    metadata?: Record<string, unknown> | undefined;
  }): Promise<{ id: string; epoch: number }>;
  heartbeat(id: string, update?: { status?: WorkerStatus | undefined; load?: number | undefined }): Promise<boolean>;
  /** A load that goes with the next heartbeat. Without it only changes of the status are told. */
  report?(id: string, now: { load: number }): void;
  unregister(id: string): Promise<boolean>;
  /** `command`: `pause` and `resume` are {@link TaskWorker.pause} and `resume`, `drain` and `shutdown` close it. `fenced`: it was registered anew, or not. */
  on?(event: 'command', listener: (command: WorkerCommand, worker: { id: string }) => unknown): unknown;
  on?(event: 'fenced', listener: (worker: { id: string }, next: { id: string; epoch: number } | null) => unknown): unknown;
  off?(event: 'command' | 'fenced', listener: never): unknown;
}

/** Options of {@link TaskQueue.process}. Unknown names are refused. */
export interface WorkerOptions {
  /** How many jobs it holds at once, from 1 to 10 000. Default 1. */
  concurrency?: number | undefined;
  /**
   * Milliseconds, from 1 000 to 2 147 483 647. The lease of a job in hand is renewed from Rust, blocked event loop or not; when this
   * process is gone, the job is given to another worker within this time plus one sweep. Default 30 000.
   */
  leaseMs?: number | undefined;
  /** How often a job may lose its worker before it fails, from 0 to 1 000. Default 1. */
  maxStalls?: number | undefined;
  /** At most `max` jobs are begun within `perMs` milliseconds, by all workers of the queue together. Default: no bound. */
  rateLimit?: { max: number; perMs: number } | undefined;
  /** How many jobs of one {@link JobOptions.group} run at once, in the fleet; from 1. Default: no bound. */
  groupConcurrency?: number | undefined;
  /** `false`: it begins with {@link TaskWorker.run}. Default true. */
  autorun?: boolean | undefined;
  /**
   * The worker registers itself there, with the queue's name as its type and its concurrency as its capacity, keeps load (jobs in hand / concurrency) and
   * status current, and unregisters when it is closed. When that registry, on the same manager, declares the worker crashed, its jobs are given to
   * others at once, not when its lease ends. A registry that cannot be reached holds nothing up: it is an `error` event, and tried again.
   */
  registry?: TaskWorkerRegistry | undefined;
}
