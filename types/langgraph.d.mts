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
/** The part of a run that a saver needs to write as its owner. */
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
  /** The store of the saver. A process takes a thread with its `acquire` or `resume`; see {@link ownedBy}. */
  readonly store: CheckpointStore;
  /**
   * @param manager Or a store that is there, whose options are its own.
   * @throws RedisError of kind `config`, naming the option.
   */
  constructor(manager: IRedisConnection | CheckpointStore, options?: RedisSaverOptions);
  /**
   * A saver for the owner of a thread. Its writes carry the run's fencing token. Once the thread has another owner, each write is refused with kind
   * `lease-lost`. This saver writes to the owner's thread only, and reads any thread.
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
   * Saves a checkpoint, all of it or nothing. Only the channels in `newVersions` are stored. The other channels are stored already, under their versions.
   *
   * @throws RedisError of kind `conflict` if that id, or the version of a channel, exists with another content; `lease-lost` if the thread has
   * another owner.
   */
  put(config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, newVersions: ChannelVersions): Promise<RunnableConfig>;
  /**
   * Saves the writes of a task, for a checkpoint that need not exist yet. Writes that the task has saved before stay. The exceptions are the kinds of
   * which LangGraph wants the last write.
   *
   * @throws RedisError of kind `lease-lost` if the thread has another owner.
   */
  putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath?: string): Promise<void>;
  /** Removes a thread with all its data. */
  deleteThread(threadId: string): Promise<void>;
  /**
   * The next version: a greater whole number with a random fraction. So two branches that go on from one version never give the same version to
   * different values.
   */
  getNextVersion(current: number | undefined): number;
}

export {};
