/** What users of checkpoints give and are given. */

import type { WorkerRegistry } from '../registry.js';

/** Which checkpoints of a thread are kept. */
export interface CheckpointKeep {
  /** The newest so many, a whole number from 1. Default: all. */
  last?: number | undefined;
  /** Those that are younger than so many seconds, fractions allowed, above 0. Default: of any age. */
  ageSec?: number | undefined;
}

/** Options of a {@link CheckpointStore}. Unknown names are refused. */
export interface CheckpointStoreOptions {
  /**
   * A prefix of every key of this store, inside the manager's namespace. At most 512 bytes without control characters, not beginning with `~`.
   * Default: none.
   */
  namespace?: string | undefined;
  /** Seconds, above 0, after which a thread is gone that nobody saves or owns. Default: never. */
  ttlSec?: number | undefined;
  /** Bytes of one save, metadata included, from 1 to 512 MiB; more is refused with kind `config` and nothing is sent. Default 8 MiB. */
  maxBytes?: number | undefined;
  /** Bytes of a thread, from 1; a save with which it would have more is refused with kind `overloaded`, delivery `rejected`. Default 256 MiB. */
  maxThreadBytes?: number | undefined;
  /** Which checkpoints are kept when others are saved. Default `{ last: 1000 }`. */
  keep?: CheckpointKeep | undefined;
  /** The registry whose crashes count for threads that its workers own. Default: the registry in the manager's namespace. */
  registry?: WorkerRegistry | undefined;
}

/** Where a checkpoint is, within its thread. */
export interface ScopeOption {
  /** A part of a thread with a history of its own: at most 1 024 bytes. Default: the empty one. */
  scope?: string | undefined;
}

/** Options of {@link CheckpointStore.save}. */
export interface SaveOptions extends ScopeOption {
  /**
   * 1 to 1 024 bytes, greater than the ids of the scope (by their bytes in UTF-8). An id that is there with the same content gives the same answer, so
   * that a save whose answer was lost can be repeated. Default: the server makes one.
   */
  id?: string | undefined;
  /** The id that must be the latest of its scope; `null`: there must be none; `any`, the default: whatever is the latest. */
  parent?: string | null | undefined;
  /** Allows a `parent` that is not the latest, and an `id` that is not the greatest. Default false. */
  branch?: boolean | undefined;
  /** A fencing token: that of a run, a lock, a leadership or a registration. A smaller one than the thread has seen is refused. */
  fence?: number | undefined;
  /** An object that JSON can express; by its members {@link CheckpointStore.history} finds checkpoints. Default `{}`. */
  meta?: Record<string, unknown> | undefined;
}

/** What is told of a checkpoint. */
export interface CheckpointInfo {
  /** The name of the thread. */
  thread: string;
  /** The scope in the thread; `''` unless another one was named. */
  scope: string;
  /** The id, unique in its scope. */
  id: string;
  /** The id that it follows; `null` for the first. It may have been trimmed. */
  parent: string | null;
  /** When it was saved, in milliseconds of the server's time since 1970. */
  at: number;
  /** The bytes that its values added to the thread. */
  bytes: number;
  /** The metadata that it was saved with. */
  meta: Record<string, unknown>;
  /** Is it kept from being trimmed? */
  pinned: boolean;
}

/** An intermediate result of a step. */
export interface PendingWrite {
  /** The task that wrote it. */
  task: string;
  /** The name that the task gave it. */
  name: string;
  /** The value, as it came out of JSON. */
  value: unknown;
}

/** A checkpoint with its state and its pending writes. */
export interface Checkpoint<S = unknown> extends CheckpointInfo {
  /** The state, as it came out of JSON. */
  state: S;
  /** By task, and in the order in which each task gave them. */
  pending: PendingWrite[];
}

/** Options of {@link CheckpointStore.history}. */
export interface HistoryOptions extends ScopeOption {
  /** Only checkpoints with a smaller id. */
  before?: string | undefined;
  /** The largest number of checkpoints, a whole number from 1. Default: all. */
  limit?: number | undefined;
  /** Only checkpoints whose metadata have these members, with equal values. */
  where?: Record<string, unknown> | undefined;
}

/** Options of {@link CheckpointStore.addPending}. */
export interface PendingOptions extends ScopeOption {
  /** As in {@link SaveOptions}. */
  fence?: number | undefined;
}

/** Options of an owner of a thread. */
export interface OwnerOptions {
  /**
   * Milliseconds, from 100 to 2 147 483 647, after which the thread of a process that is gone is interrupted. Rust renews it every third of that time
   * while the process lives. Default 30 000.
   */
  leaseMs?: number | undefined;
  /** The owner's registration in a {@link WorkerRegistry}: when that declares it crashed, its threads are interrupted at once. */
  worker?: { readonly id: string; readonly epoch: number } | undefined;
}

/** Options of {@link CheckpointStore.acquire}. */
export interface AcquireOptions extends OwnerOptions {
  /** Milliseconds, from 0, to wait for a thread that another owner has. Default 0: one attempt. */
  waitMs?: number | undefined;
  /** Ends the wait, with kind `cancelled`. It does not touch a thread that is owned. */
  signal?: AbortSignal | undefined;
}

/** Options of {@link CheckpointStore.watch}. */
export interface WatchOptions {
  /** Begins behind this checkpoint of the scope `''`, or with all there are if it is not there. Default: with the next. */
  after?: string | undefined;
  /** Ends it. A watch that has not begun yet rejects with kind `cancelled`. */
  signal?: AbortSignal | undefined;
}

/** The interruption of a thread: its owner is gone. */
export interface Interruption {
  /** The id of its owner's worker in a registry, if the owner named one. */
  worker?: string | undefined;
  /** The epoch of that worker. */
  epoch?: number | undefined;
  /** When its lease ended, in milliseconds of the server's time since 1970. */
  at: number;
  /** How often the thread was interrupted since it was given back last. */
  times: number;
}

/** A thread whose owner is gone. */
export interface InterruptedThread extends Interruption {
  /** The name of the thread. */
  thread: string;
}

/** A thread that this process owns. */
export interface CheckpointRun<S = unknown> {
  /** The name of the thread. */
  readonly thread: string;
  /** The fencing token: every later owner has a larger one. Give it to whatever the work changes elsewhere. */
  readonly fence: number;
  /** Aborted when the thread is lost, with a `RedisError` of kind `lease-lost`: stop the work, because another process may have started it. */
  readonly signal: AbortSignal;
  /** Where to go on from: the latest of the scope `''` when the thread was taken. */
  readonly checkpoint: Checkpoint<S> | null;
  /** The interruption before this run; `null` if the thread was free. */
  readonly interrupted: Interruption | null;
  /**
   * Saves a state behind the one before. Where the answer is lost it asks again, for as long as the lease, and the state is saved once.
   *
   * @throws RedisError of kind `lease-lost` if the thread has another owner.
   */
  save(state: S, options?: { meta?: Record<string, unknown> | undefined }): Promise<CheckpointInfo>;
  /**
   * The work is over, and the thread is not to be resumed.
   *
   * @throws RedisError of kind `lease-lost` if the thread has another owner.
   */
  finish(outcome?: 'done' | 'failed'): Promise<void>;
  /** Gives the thread back. It is free then, and not interrupted. */
  pause(): Promise<void>;
  /** The same as {@link pause}. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Options of {@link CheckpointStore.resume}. */
export interface ResumeOptions extends OwnerOptions {
  /** How many threads this process takes at once: a whole number from 1 to 10 000. Default 1. */
  concurrency?: number | undefined;
  /** Interruptions of a thread, from 1, after which it has failed instead of being taken again. Default 5. */
  maxResumes?: number | undefined;
  /** A glob pattern of Redis for the threads that are taken. Default: every thread. */
  match?: string | undefined;
}

/** The second argument of a handler of {@link CheckpointStore.resume}. */
export interface ResumeContext {
  /** How often the thread was interrupted: 1 for the first time. */
  readonly attempt: number;
  /** The signal of the run. */
  readonly signal: AbortSignal;
}

/** Events of a {@link Resumer}, and what listeners are given. */
export interface ResumerEvents {
  /** A thread was taken, and its handler starts. */
  resumed: [thread: string];
  /** A thread was interrupted more often than `maxResumes`, and is not taken again. */
  failed: [thread: string, times: number];
  /** A handler threw, and its thread is interrupted again; or the server refused something. Without a listener it is a process warning. */
  error: [error: unknown, thread: string | undefined];
}
