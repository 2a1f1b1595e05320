/// <reference types="node" />
import { RunnableConfig } from '@langchain/core/runnables';
import {
  BaseCheckpointSaver,
  SerializerProtocol,
  CheckpointTuple,
  CheckpointListOptions,
  Checkpoint,
  CheckpointMetadata,
  ChannelVersions,
  PendingWrite,
} from '@langchain/langgraph-checkpoint';
import { CheckpointStore, IRedisConnection, CheckpointStoreOptions, CheckpointRun } from 'redis-backplane';

/** Options of a {@link RedisSaver}: those of a `CheckpointStore` too. Unknown names are refused. */
export interface RedisSaverOptions extends CheckpointStoreOptions {
  /** How values become bytes. Default: the serializer of LangGraph, JSON that keeps the classes that LangChain knows. */
  serde?: SerializerProtocol | undefined;
}
/** What of a run a saver needs to write as its owner. */
export type SaverOwner = Pick<CheckpointRun, 'thread' | 'fence'>;
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
export declare class RedisSaver extends BaseCheckpointSaver {
  /** The store behind it. Its `acquire` and `resume` say who works on a thread; see {@link ownedBy}. */
  readonly store: CheckpointStore;
  /**
   * @param manager Or a store that is there, whose options are its own.
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection | CheckpointStore, options?: RedisSaverOptions);
  /**
   * A saver for who owns a thread: what it writes carries the run's fencing token. Once another one owns the thread, each write is refused with kind
   * `lease-lost`. It writes that thread only, and reads any.
   */
  ownedBy(run: SaverOwner): RedisSaver;
  /** The checkpoint that `config` names, or the latest of its thread and namespace, in one round trip. */
  getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined>;
  /**
   * The checkpoints of a thread, greatest id first, or those of all threads, one thread after another. `filter` compares members of the metadata that
   * are strings, numbers, booleans or null.
   */
  list(config: RunnableConfig, options?: CheckpointListOptions): AsyncGenerator<CheckpointTuple>;
  /**
   * Saves a checkpoint, all of it or nothing. Of its channels those in `newVersions` are stored; the others are there already, by their versions.
   *
   * @throws RedisError of kind `conflict` if that id, or the version of a channel, is there with another content; `lease-lost` if somebody else owns
   * the thread.
   */
  put(config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, newVersions: ChannelVersions): Promise<RunnableConfig>;
  /**
   * Saves what a task has written, for a checkpoint that need not be there yet. What is there of that task stays, but for the kinds of writes of which
   * LangGraph wants the last one.
   *
   * @throws RedisError of kind `lease-lost` if somebody else owns the thread.
   */
  putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath?: string): Promise<void>;
  /** Removes a thread with all that it has. */
  deleteThread(threadId: string): Promise<void>;
  /**
   * A whole number above that of `current`, and a fraction of its own: two branches of a thread that go on from one version never call different values
   * by one version.
   */
  getNextVersion(current: number | undefined): number;
}

export {};
