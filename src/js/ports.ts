/**
 * The public classes as interfaces, for functions that should also take a test double. A class that `implements` one, or any object with its members,
 * needs no cast.
 */

import type { MessageBus } from './bus/bus.js';
import type { BusEvents } from './bus/events.js';
import type { CheckpointStore } from './checkpoints/store.js';
import type { KVStore } from './kv.js';
import type { ConnectionEvents, RedisConnectionManager } from './manager.js';
import type { TaskQueueEvents } from './queue/events.js';
import type { TaskQueue } from './queue/queue.js';
import type { WorkerRegistry } from './registry.js';
import type { RegistryEvents } from './registry-worker.js';
import type { SessionStoreEvents } from './sessions/options.js';
import type { SessionStore } from './sessions/store.js';

/** The names of the members of `T` that do not return `this`. */
type MembersOf<T> = Exclude<keyof T, 'on' | 'off' | 'once'>;

/** Adding and removing listeners; each method returns the object itself. */
interface Emitting<E extends Record<keyof E, unknown[]>> {
  /** As of the class. */
  on<K extends keyof E>(event: K, listener: (...args: E[K]) => unknown): this;
  /** As of the class. */
  off<K extends keyof E>(event: K, listener: (...args: E[K]) => unknown): this;
}

/** The members of a {@link RedisConnectionManager}. */
export interface IRedisConnection extends Pick<RedisConnectionManager, MembersOf<RedisConnectionManager>>, Emitting<ConnectionEvents> {
  /** As of the class. */
  once<K extends keyof ConnectionEvents>(event: K, listener: (...args: ConnectionEvents[K]) => unknown): this;
}

/** The members of a {@link MessageBus}. */
export interface IMessageBus extends Pick<MessageBus, MembersOf<MessageBus>> {
  /** As of the class. */
  on<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this;
  /** As of the class. */
  off<E extends keyof BusEvents>(event: E, listener: (event: BusEvents[E]) => unknown): this;
}

/** The members of a {@link KVStore}. */
export interface IKVStore extends Pick<KVStore, keyof KVStore> {}

/** The members of a {@link SessionStore}. */
export interface ISessionStore<T extends object = Record<string, unknown>>
  extends Pick<SessionStore<T>, MembersOf<SessionStore<T>>>,
    Emitting<SessionStoreEvents> {}
/** The members of a {@link CheckpointStore}. */
export interface ICheckpointStore extends Pick<CheckpointStore, keyof CheckpointStore> {}

/** The members of a {@link TaskQueue}. */
export interface ITaskQueue<T = unknown, R = unknown>
  extends Pick<TaskQueue<T, R>, MembersOf<TaskQueue<T, R>>>,
    Emitting<TaskQueueEvents<R>> {}

/** The members of a {@link WorkerRegistry}. */
export interface IWorkerRegistry extends Pick<WorkerRegistry, MembersOf<WorkerRegistry>>, Emitting<RegistryEvents> {
  /** As of the class. */
  once<K extends keyof RegistryEvents>(event: K, listener: (...args: RegistryEvents[K]) => unknown): this;
}
