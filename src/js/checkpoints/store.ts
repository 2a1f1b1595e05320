/** The store of checkpoints. */

import { onAbort } from '../aborts.js';
import { cancelled, checkSignal, checkWhole, jsonArgument, objectOf, optionsOf, refuseUnknown } from '../arguments.js';
import type { Unsubscribe } from '../bus/options.js';
import { checkMade, keep } from '../copies.js';
import type { Endpoint } from '../diagnostics.js';
import { configError, RedisError } from '../errors.js';
import { internals } from '../internals.js';
import { verbs } from '../native.js';
import { optionsJson, type Port } from '../port.js';
import type { IRedisConnection } from '../ports.js';
import { metaText } from './meta.js';
import type {
  AcquireOptions,
  Checkpoint,
  CheckpointInfo,
  CheckpointKeep,
  CheckpointRun,
  CheckpointStoreOptions,
  HistoryOptions,
  InterruptedThread,
  PendingOptions,
  ResumeOptions,
  SaveOptions,
  ScopeOption,
  WatchOptions,
} from './options.js';
import { type Opening, ownerOptions } from './owner.js';
import { RawCheckpoints } from './raw.js';
import { type ResumeHandler, type Resumer, startResumer } from './resumer.js';
import { openRun } from './run.js';
import { checkpointOf, infoOf, interruptionOf, type Loaded, type Taken, type Told, type Was } from './shapes.js';
import { startWatch, type WatchHandler } from './watcher.js';

const V = verbs(
  'checkpoints',
  'save',
  'latest',
  'load',
  'history',
  'fork',
  'addPending',
  'pin',
  'prune',
  'remove',
  'threads',
  'acquire',
  'interrupted',
  'cancel',
);
const SAVE_OPTIONS = ['id', 'scope', 'parent', 'branch', 'fence', 'meta'] as const satisfies (keyof SaveOptions)[];
/** The largest number of checkpoints in one answer. */
const PAGE = 100;

/** The internals of a store, see {@link internals}. */
class CheckpointInternals implements Opening {
  readonly port: Port;
  readonly handle: number;
  readonly endpoint: Endpoint;
  /** Adapters such as the LangGraph saver use it. */
  readonly raw: RawCheckpoints;
  readonly open = new Set<() => Promise<void>>();
  #lastId = 0;

  constructor(manager: IRedisConnection, options: CheckpointStoreOptions) {
    const { port, handle, endpoint } = manager[internals];
    const { registry, ...rest } = options;
    if (registry !== undefined) checkMade('CheckpointStore: registry', 'WorkerRegistry', registry);
    this.port = port;
    this.handle = port.open('checkpoints', handle, { ...rest, registry: registry?.[internals].namespace }, this);
    this.endpoint = endpoint;
    this.raw = new RawCheckpoints(port, this.handle);
  }

  nextId(): number {
    this.#lastId++;
    return this.#lastId;
  }

  /** Ends every resumer and watcher that is open, and resolves when the handlers of the resumers have ended. */
  async close(): Promise<void> {
    await Promise.all([...this.open].map((end) => end()));
  }
}

/**
 * States of long work (an import, a conversation, an agent's run), by *thread*: saved in order, never half, owned by at most one process at a time,
 * and taken over by exactly one other when that process is gone.
 *
 * Of every method:
 *
 * - A thread, an id and a task are strings of 1 to 1 024 bytes without the character U+0000.
 * - A state, metadata and pending writes are stored as `JSON.stringify` writes them; what JSON cannot express is refused with kind `serialization`
 *   before anything is sent.
 * - A bad argument rejects with kind `config`, naming it; and any call with `connection`, `timeout`, `closed` or `overloaded`, whose `delivery`
 *   says whether the server may have acted.
 *
 * @example
 * const checkpoints = new CheckpointStore(manager);
 * const run = await checkpoints.acquire<{ row: number }>('import:7');
 * if (run) {
 *   for (let row = run.checkpoint?.state.row ?? 0; row < 1_000; row += 100) await run.save({ row });
 *   await run.finish();
 * }
 */
export class CheckpointStore {
  /** @internal */
  declare readonly [internals]: CheckpointInternals;

  /**
   * Opens nothing: one manager serves any number of stores, and they need no closing.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection, options?: CheckpointStoreOptions) {
    checkMade('CheckpointStore: manager', 'RedisConnectionManager', manager);
    keep(this, 'CheckpointStore', new CheckpointInternals(manager, optionsOf('CheckpointStore: options', options)));
  }

  /**
   * Saves a state, all of it or nothing.
   *
   * @throws RedisError of kind `conflict`, naming the latest id, if `parent` is not the latest, or the id is there with another content; `lease-lost`
   * if another owner has the thread, or a larger `fence` was used; `config` above `maxBytes`; `overloaded`, delivery `rejected`, above `maxThreadBytes`.
   */
  async save<S>(thread: string, state: S, options?: SaveOptions): Promise<CheckpointInfo> {
    const text = jsonArgument('CheckpointStore.save: state', state);
    const { id, scope, parent, branch, fence, meta, ...rest } = optionsOf('CheckpointStore.save: options', options);
    refuseUnknown('CheckpointStore.save', rest, SAVE_OPTIONS);
    const metadata = metaText('CheckpointStore.save', meta);
    const { port, handle } = this[internals];
    const given = options === undefined ? undefined : optionsJson({ id, scope, parent, branch, fence });
    return infoOf(thread, (await port.call(handle, V.save, thread, given, metadata, '', '', text)) as Told);
  }

  /** The checkpoint of a scope with the greatest id, or `null`. One round trip, however long the history is. */
  async latest<S = unknown>(thread: string, options?: ScopeOption): Promise<Checkpoint<S> | null> {
    const { port, handle } = this[internals];
    const found = (await port.call(handle, V.latest, thread, null, scopeText('latest', options))) as Loaded | null;
    return found === null ? null : checkpointOf<S>(thread, found);
  }

  /** The checkpoint with this id, or `null`. */
  async get<S = unknown>(thread: string, id: string, options?: ScopeOption): Promise<Checkpoint<S> | null> {
    const { port, handle } = this[internals];
    const found = (await port.call(handle, V.load, thread, id, scopeText('get', options))) as Loaded | null;
    return found === null ? null : checkpointOf<S>(thread, found);
  }

  /** The checkpoints of a scope without their states, the greatest id first. They are read a page at a time. */
  async *history(thread: string, options?: HistoryOptions): AsyncGenerator<CheckpointInfo, void, undefined> {
    const { limit, scope, before, where, ...rest } = optionsOf('CheckpointStore.history: options', options);
    refuseUnknown('CheckpointStore.history', rest, ['scope', 'before', 'limit', 'where']);
    if (limit !== undefined) checkWhole('CheckpointStore.history: limit', limit, 1);
    const { port, handle } = this[internals];
    let left = limit ?? Number.POSITIVE_INFINITY;
    let next: string | null | undefined = before;
    do {
      const page = optionsJson({ scope, where, before: next, limit: where === undefined ? Math.min(PAGE, left) : PAGE });
      const [following, found]: [string | null, Told[]] = (await port.call(handle, V.history, thread, page)) as [string | null, Told[]];
      for (const told of found) {
        yield infoOf(thread, told);
        left--;
        if (left === 0) return;
      }
      next = following;
    } while (next !== null);
  }

  /**
   * Copies a checkpoint into another thread, under its id; its pending writes stay behind. Repeating it changes nothing.
   *
   * @throws RedisError of kind `config` if there is no such checkpoint; `conflict` if the other thread has other checkpoints in that scope.
   */
  async fork(thread: string, id: string, into: string, options?: ScopeOption): Promise<CheckpointInfo> {
    const { port, handle } = this[internals];
    return infoOf(into, (await port.call(handle, V.fork, thread, id, into, scopeText('fork', options))) as Told);
  }

  /**
   * Adds the intermediate results of a task. They become `pending` of the checkpoint, which need not exist yet. A write with the same task and place
   * stays as it is, so the call can be repeated.
   */
  async addPending(
    thread: string,
    id: string,
    task: string,
    writes: [name: string, value: unknown][],
    options?: PendingOptions,
  ): Promise<void> {
    if (!Array.isArray(writes)) throw configError('CheckpointStore.addPending: writes', 'an array of pairs of name and value', writes);
    const { scope, fence, ...rest } = optionsOf('CheckpointStore.addPending: options', options);
    refuseUnknown('CheckpointStore.addPending', rest, ['scope', 'fence']);
    const args: unknown[] = [thread, id, task, optionsJson({ scope, fence })];
    for (const [at, write] of writes.entries()) {
      if (!Array.isArray(write) || write.length !== 2 || typeof write[0] !== 'string') {
        throw configError(`CheckpointStore.addPending: writes[${at}]`, 'a pair of name and value', write);
      }
      args.push(at, false, write[0], jsonArgument(`CheckpointStore.addPending: writes[${at}]`, write[1]));
    }
    const { port, handle } = this[internals];
    await port.callWith(handle, V.addPending, args);
  }

  /** Keeps a checkpoint from being trimmed; with `on` false it may be trimmed again. Returns `false` if there is no such checkpoint. */
  async pin(thread: string, id: string, on?: boolean, options?: ScopeOption): Promise<boolean> {
    const { port, handle } = this[internals];
    return (await port.call(handle, V.pin, thread, id, on, scopeText('pin', options))) as boolean;
  }

  /**
   * Removes the oldest checkpoints beyond `keep`, but never the latest of a scope or a pinned one. It works in steps of at most 64, so that no other
   * caller waits long.
   *
   * @returns The number of removed checkpoints.
   */
  async prune(thread: string, keep: CheckpointKeep): Promise<number> {
    const { port, handle } = this[internals];
    return (await port.call(handle, V.prune, thread, optionsJson(objectOf('CheckpointStore.prune: keep', keep)))) as number;
  }

  /** Removes a thread with all its data. An owner loses the thread. Returns `false` if there was no such thread. */
  async remove(thread: string): Promise<boolean> {
    const { port, handle } = this[internals];
    return (await port.call(handle, V.remove, thread)) as boolean;
  }

  /** The threads of this store that have a checkpoint, in no order. A thread that is created or removed meanwhile may be missing; a thread may come twice. */
  async *threads(options?: { prefix?: string | undefined }): AsyncGenerator<string, void, undefined> {
    const { prefix, ...rest } = optionsOf('CheckpointStore.threads: options', options);
    refuseUnknown('CheckpointStore.threads', rest, ['prefix']);
    const { port, handle } = this[internals];
    let cursor: string | null | undefined;
    do {
      const [next, found]: [string | null, string[]] = (await port.call(handle, V.threads, cursor, prefix)) as [string | null, string[]];
      yield* found;
      cursor = next;
    } while (cursor !== null);
  }

  /**
   * Takes a thread, whether it has checkpoints or not. Its lease is renewed from Rust, so that a blocked event loop keeps it. End each run with
   * `finish()`, `pause()` or `await using`: a run that is only dropped owns its thread until the process ends.
   *
   * @returns `null` if another owner has the thread for longer than `waitMs`.
   * @throws RedisError of kind `cancelled` when the signal is aborted.
   */
  async acquire<S = unknown>(thread: string, options?: AcquireOptions): Promise<CheckpointRun<S> | null> {
    const call = 'CheckpointStore.acquire';
    const { signal, waitMs, leaseMs, worker, ...rest } = optionsOf(`${call}: options`, options);
    refuseUnknown(call, rest, ['leaseMs', 'waitMs', 'worker', 'signal']);
    checkSignal(`${call}: signal`, signal);
    const text = optionsJson({ waitMs, ...ownerOptions(call, { leaseMs, worker }) });
    if (signal?.aborted) throw cancelled(call, signal);
    const own = this[internals];
    const id = own.nextId();
    const forget = onAbort(signal, () => {
      // If the wait has just ended, there is nothing to cancel.
      own.port.callQuietly(own.handle, V.cancel, id).catch(() => {});
    });
    let taken: Taken | null;
    try {
      taken = (await own.port.call(own.handle, V.acquire, id, thread, text)) as Taken | null;
    } catch (error) {
      if (signal?.aborted && error instanceof RedisError && error.redisErrorKind === 'cancelled') throw cancelled(call, signal);
      throw error;
    } finally {
      forget();
    }
    if (taken === null) return null;
    const { run, undo } = openRun<S>(own, id, thread, taken);
    if (signal?.aborted) {
      // If the thread cannot be given back now, its lease runs out.
      await undo().catch(() => {});
      throw cancelled(call, signal);
    }
    return run;
  }

  /** Threads whose owners' leases have ended by the server's clock, the longest overdue first. The cost grows with the number of overdue threads only. */
  async interrupted(options?: { limit?: number | undefined }): Promise<InterruptedThread[]> {
    const { port, handle } = this[internals];
    const text = optionsJson(optionsOf('CheckpointStore.interrupted: options', options));
    const found = (await port.call(handle, V.interrupted, text)) as [string, ...Was][];
    return found.map(([thread, ...was]) => ({ thread, ...interruptionOf(was) }));
  }

  /**
   * Calls `handler` with threads that were interrupted. Each thread goes to one handler of all processes. A handler that returns without `finish()` gives
   * the thread back. If a handler throws, its thread stays interrupted, and is taken again after a pause that grows up to 30 seconds.
   *
   * @throws RedisError of kind `config`, naming the option.
   */
  resume<S = unknown>(handler: ResumeHandler<S>, options?: ResumeOptions): Resumer {
    return startResumer<S>(this[internals], handler, options);
  }

  /**
   * Calls `handler` with each new checkpoint of a thread, of any scope: one after another, in the order of the saves. None is left out, unless it is
   * trimmed before it is read. A watch keeps the process alive. An error of the handler is reported as a process warning.
   */
  async watch(thread: string, handler: WatchHandler, options?: WatchOptions): Promise<Unsubscribe> {
    return startWatch(this[internals], thread, handler, options);
  }
}

function scopeText(method: string, options: ScopeOption | undefined): string | undefined {
  if (options === undefined) return undefined;
  const call = `CheckpointStore.${method}`;
  const { scope, ...rest } = optionsOf(`${call}: options`, options);
  refuseUnknown(call, rest, ['scope']);
  return optionsJson({ scope });
}
