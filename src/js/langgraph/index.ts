/** A saver for LangGraph on a `CheckpointStore`. */

import { randomInt } from 'node:crypto';
import type { RunnableConfig } from '@langchain/core/runnables';
import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointTuple,
  getCheckpointId,
  type PendingWrite,
  type SerializerProtocol,
} from '@langchain/langgraph-checkpoint';
import {
  type CheckpointInfo,
  type CheckpointRun,
  CheckpointStore,
  type CheckpointStoreOptions,
  type IRedisConnection,
  RedisError,
} from 'redis-backplane';
import type { RawCheckpoints } from '../checkpoints/raw.js';
import { hide, internals } from '../internals.js';
import { needsParent, partsOf, searchable, tupleOf, writesOf } from './stored.js';

/** Options of a {@link RedisSaver}: those of a `CheckpointStore` too. Unknown names are refused. */
export interface RedisSaverOptions extends CheckpointStoreOptions {
  /** How values become bytes. Default: the serializer of LangGraph, JSON that keeps the classes that LangChain knows. */
  serde?: SerializerProtocol | undefined;
}

/** The part of a run that a saver needs to write as its owner. */
export type SaverOwner = Pick<CheckpointRun, 'thread' | 'fence'>;

/** The number of checkpoints that are read at once. */
const AT_ONCE = 16;
/** The number of digits of a version behind the point. */
const DIGITS = 10;

/** The internals of a {@link RedisSaver}. */
class SaverInternals {
  readonly raw: RawCheckpoints;
  owner: SaverOwner | undefined;

  constructor(store: CheckpointStore) {
    this.raw = store[internals].raw;
  }

  /** The fencing token of the owner, if there is one, for writes to its thread only. */
  fence(method: string, thread: string): number | undefined {
    if (this.owner !== undefined && this.owner.thread !== thread) {
      const message = `RedisSaver.${method}: thread_id: expected the thread that is owned, ${this.owner.thread}, got ${thread}`;
      throw new RedisError('config', message);
    }
    return this.owner?.fence;
  }

  /** The checkpoints of a thread without their states, the greatest id first: of one scope, or of all scopes. */
  async *history(thread: string, scope: string | undefined, before: string | undefined, where: Record<string, unknown> | undefined) {
    if (scope !== undefined) {
      yield* this.raw.history(thread, scope, where, before);
      return;
    }
    const all: CheckpointInfo[] = [];
    for await (const info of this.raw.history(thread, undefined, where)) {
      if (before === undefined || order(info.id, before) < 0) all.push(info);
    }
    yield* all.sort((one, other) => order(other.id, one.id));
  }
}

/**
 * Checkpoints of LangGraph in Redis 6.2 or later, without modules: a thread is that of a {@link CheckpointStore}, a `checkpoint_ns` is a scope, a
 * channel is a part, stored once for each version of it.
 *
 * Of every method: `thread_id`, `checkpoint_id` and a task are strings of 1 to 1 024 bytes without the character U+0000, `checkpoint_ns` may be
 * empty; another value rejects with kind `config`, naming it. A channel's name has no U+0000. Any call rejects with `connection`, `timeout`,
 * `closed` or `overloaded`, whose `delivery` says whether the server may have acted; each can be repeated then.
 *
 * @example
 * const app = graph.compile({ checkpointer: new RedisSaver(manager) });
 * await app.invoke(input, { configurable: { thread_id: 'user-7' } });
 */
export class RedisSaver extends BaseCheckpointSaver {
  /** @internal */
  declare readonly [internals]: SaverInternals;
  /** The store of the saver. A process takes a thread with its `acquire` or `resume`; see {@link ownedBy}. */
  readonly store: CheckpointStore;

  /**
   * @param manager Or a store that is there, whose options are its own.
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection | CheckpointStore, options: RedisSaverOptions = {}) {
    const { serde, ...rest } = options;
    super(serde);
    if (manager instanceof CheckpointStore) {
      const [name] = Object.keys(rest);
      if (name !== undefined)
        throw new RedisError('config', `RedisSaver.${name}: expected only serde beside a store, got an option of the store`);
      this.store = manager;
    } else {
      this.store = new CheckpointStore(manager, rest);
    }
    hide(this, new SaverInternals(this.store));
  }

  /**
   * A saver for the owner of a thread. Its writes carry the run's fencing token. Once the thread has another owner, each write is refused with kind
   * `lease-lost`. This saver writes to the owner's thread only, and reads any thread.
   */
  ownedBy(run: SaverOwner): RedisSaver {
    const owned = new RedisSaver(this.store, { serde: this.serde });
    owned[internals].owner = run;
    return owned;
  }

  /** The checkpoint that `config` names, or the latest of its thread and namespace, in one round trip. */
  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const { thread, scope = '' } = placeOf('getTuple', config);
    if (thread === undefined) return undefined;
    const { raw } = this[internals];
    const found = await raw.load(thread, scope, idOf('getTuple', config) ?? null);
    return found === null ? undefined : tupleOf(this, raw, found);
  }

  /**
   * The checkpoints of a thread, greatest id first, or those of all threads, one thread after another. `filter` compares members of the metadata that
   * are strings, numbers, booleans or null.
   */
  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const { thread, scope } = placeOf('list', config);
    const id = idOf('list', config);
    const before = options.before === undefined ? undefined : idOf('list', options.before);
    const own = this[internals];
    let left = options.limit ?? Number.POSITIVE_INFINITY;
    for await (const each of thread === undefined ? onceEach(this.store.threads()) : [thread]) {
      const wanted = own.history(each, scope, before, options.filter);
      while (left > 0) {
        const infos = await take(wanted, Math.min(AT_ONCE, left), (info) => id === undefined || info.id === id);
        if (infos.length === 0) break;
        const found = await Promise.all(infos.map((info) => own.raw.load(each, info.scope, info.id)));
        for (const one of found) {
          // The checkpoint was trimmed meanwhile.
          if (one === null) continue;
          yield tupleOf(this, own.raw, one);
          left--;
        }
      }
      if (left <= 0) return;
    }
  }

  /**
   * Saves a checkpoint, all of it or nothing. Only the channels in `newVersions` are stored. The other channels are stored already, under their versions.
   *
   * @throws RedisError of kind `conflict` if that id, or the version of a channel, exists with another content; `lease-lost` if the thread has
   * another owner.
   */
  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    const { thread, scope = '' } = placeOf('put', config);
    if (thread === undefined) throw missing('put', 'thread_id');
    const own = this[internals];
    const fence = own.fence('put', thread);
    const options = {
      scope,
      id: checkpoint.id,
      parentAs: idOf('put', config) ?? null,
      fence,
      needsParent: needsParent(checkpoint, metadata),
    };
    const parts = await partsOf(this.serde, checkpoint, metadata, newVersions);
    await own.raw.save(thread, options, searchable(metadata), parts);
    return { configurable: { thread_id: thread, checkpoint_ns: scope, checkpoint_id: checkpoint.id } };
  }

  /**
   * Saves the writes of a task, for a checkpoint that need not exist yet. Writes that the task has saved before stay. The exceptions are the kinds of
   * which LangGraph wants the last write.
   *
   * @throws RedisError of kind `lease-lost` if the thread has another owner.
   */
  override async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath = ''): Promise<void> {
    const { thread, scope = '' } = placeOf('putWrites', config);
    const id = idOf('putWrites', config);
    if (thread === undefined) throw missing('putWrites', 'thread_id');
    if (id === undefined) throw missing('putWrites', 'checkpoint_id');
    const own = this[internals];
    const fence = own.fence('putWrites', thread);
    await own.raw.addPending(thread, id, taskId, { scope, fence }, await writesOf(this.serde, writes, taskPath));
  }

  /** Removes a thread with all its data. */
  override async deleteThread(threadId: string): Promise<void> {
    this[internals].fence('deleteThread', threadId);
    await this.store.remove(threadId);
  }

  /**
   * The next version: a greater whole number with a random fraction. So two branches that go on from one version never give the same version to
   * different values.
   */
  override getNextVersion(current: number | undefined): number {
    const fraction = String(randomInt(10 ** DIGITS)).padStart(DIGITS, '0');
    return Number(`${Math.floor(current ?? 0) + 1}.${fraction}`);
  }
}

/** The thread and the namespace that a configuration names. */
function placeOf(method: string, config: RunnableConfig): { thread: string | undefined; scope: string | undefined } {
  const given: Record<string, unknown> = config.configurable ?? {};
  return { thread: textOf(method, 'thread_id', given.thread_id), scope: textOf(method, 'checkpoint_ns', given.checkpoint_ns) };
}

/** The checkpoint that a configuration names. */
function idOf(method: string, config: RunnableConfig): string | undefined {
  const id = textOf(method, 'checkpoint_id', getCheckpointId(config));
  return id === '' ? undefined : id;
}

function textOf(method: string, name: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  throw new RedisError('config', `RedisSaver.${method}: config.configurable.${name}: expected a string, got ${typeof value}`);
}

function missing(method: string, name: string): RedisError {
  return new RedisError('config', `RedisSaver.${method}: config.configurable.${name}: expected a string, got none`);
}

/** The order of two ids, by their bytes, as in the store. */
function order(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

async function* onceEach(names: AsyncIterable<string>): AsyncGenerator<string> {
  const seen = new Set<string>();
  for await (const name of names) {
    if (seen.has(name)) continue;
    seen.add(name);
    yield name;
  }
}

/** The next `most` wanted items, fewer at the end. */
async function take<T>(from: AsyncGenerator<T>, most: number, isWanted: (value: T) => boolean): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < most) {
    const next = await from.next();
    if (next.done) break;
    if (isWanted(next.value)) taken.push(next.value);
  }
  return taken;
}
