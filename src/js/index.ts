/** The public exports of the package. */

export {
  type BullMQClient,
  type BullMQDuplicateOptions,
  type BullMQFields,
  type BullMQOptions,
  type BullMQResult,
  type BullMQScript,
  type BullMQStreams,
  type BullMQTlsOptions,
  type BullMQTransaction,
  bullmqConnection,
  bullmqOptions,
} from './bullmq/index.js';
export { MessageBus, makeRedisBus } from './bus/bus.js';
export type { DeadLetter, DeadLetterListOptions, DeadLetters, RedriveOptions } from './bus/durable.js';
export type { BusEvents } from './bus/events.js';
export type { TopicGroup } from './bus/groups.js';
export type {
  MessageBusOptions,
  MessageContext,
  MessagesOptions,
  PublishOptions,
  RequestOptions,
  SubscribeOptions,
  Unsubscribe,
} from './bus/options.js';
export { ResponderError } from './bus/requests.js';
export type {
  AcquireOptions,
  Checkpoint,
  CheckpointInfo,
  CheckpointKeep,
  CheckpointRun,
  CheckpointStoreOptions,
  HistoryOptions,
  InterruptedThread,
  Interruption,
  OwnerOptions,
  PendingOptions,
  PendingWrite,
  ResumeContext,
  ResumeOptions,
  ResumerEvents,
  SaveOptions,
  ScopeOption,
  WatchOptions,
} from './checkpoints/options.js';
export { type ResumeHandler, Resumer } from './checkpoints/resumer.js';
export { CheckpointStore } from './checkpoints/store.js';
export type { WatchHandler } from './checkpoints/watcher.js';
export type { ClaimRequest, WorkerClaim } from './claim.js';
export {
  createTestRedisConfig,
  REDIS_TEST_CONFIG,
  type RedisConfig,
  type RedisReconnectConfig,
  type RedisTlsConfig,
  redisConfigFromEnv,
} from './config.js';
export { type Container, type ContainerHealth, type ContainerOptions, type Coordinator, createContainer } from './container.js';
export type { CommandTrace, Endpoint } from './diagnostics.js';
export { createEnvelope, type Envelope, isEnvelope, retryEnvelope } from './envelope.js';
export { RedisError, type RedisErrorDelivery, type RedisErrorFields, type RedisErrorKind } from './errors.js';
export { deduplicateEvent, type OnceOptions, once } from './idempotency.js';
export { type GetOrSetOptions, KVStore, type KVStoreOptions, makeRedisKV, type ScanOptions } from './kv.js';
export type { ElectOptions, Leadership } from './leadership.js';
export type { Lock, LockOptions } from './lock.js';
export {
  type CommandArgument,
  type ConnectionEvents,
  type ConnectionHealth,
  type ConnectionState,
  RedisConnectionManager,
} from './manager.js';
export { type MemoryControl, type MemoryEntry, memoryControl } from './memory.js';
export type { HistogramSnapshot, MetricsSnapshot } from './metrics.js';
export type { ICheckpointStore, IKVStore, IMessageBus, IRedisConnection, ISessionStore, ITaskQueue, IWorkerRegistry } from './ports.js';
export type { JobContext, Processor } from './queue/attempt.js';
export { DelayError, JobFailedError, UnrecoverableError } from './queue/errors.js';
export type { TaskQueueEvents } from './queue/events.js';
export type { Job } from './queue/job.js';
export type {
  AddAndWaitOptions,
  Backoff,
  ChildJob,
  CloseOptions,
  JobOptions,
  JobState,
  KeepRule,
  ListOptions,
  Schedule,
  ScheduledJob,
  ScheduleTimes,
  TaskQueueOptions,
  TaskWorkerRegistry,
  WaitOptions,
  WorkerOptions,
} from './queue/options.js';
export { TaskQueue } from './queue/queue.js';
export { TaskWorker } from './queue/worker.js';
export type { TaskWorkerEvents } from './queue/worker-internals.js';
export { WorkerRegistry, type WorkerRegistryOptions } from './registry.js';
export type {
  HeartbeatUpdate,
  MalformedRecord,
  RegistryEvents,
  WorkerCommand,
  WorkerCount,
  WorkerEvent,
  WorkerEventName,
  WorkerFilter,
  WorkerHealth,
  WorkerInfo,
  WorkerRegistration,
  WorkerStatus,
} from './registry-worker.js';
export { type RetryOptions, retry } from './retry.js';
export { type Correlation, correlation, withCorrelation } from './scope.js';
export { type MemorySessionsOptions, memorySessions, type SessionBackend, type StoredSession } from './sessions/backend.js';
export type { CreateSessionOptions, SessionStoreEvents, SessionStoreOptions, WhenAway } from './sessions/options.js';
export { type Session, type SessionConflict, SessionConflictError, type SessionInfo } from './sessions/session.js';
export { SessionStore } from './sessions/store.js';
export { type ShutdownSignals, shutdownOnSignals } from './signals.js';
export { makeRedisSuite, type RedisSuite } from './suite.js';
export type {
  JobsOf,
  NamedJob,
  NamedJobToAdd,
  RequestsOf,
  ServiceTypes,
  TopicsOf,
  TypedBus,
  TypedContainer,
  TypedQueue,
} from './typed.js';
export type { UpdateOptions } from './update.js';
