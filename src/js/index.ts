/** The public entry: everything a user may name, and nothing else. */

export {
  createTestRedisConfig,
  REDIS_TEST_CONFIG,
  type RedisConfig,
  type RedisReconnectConfig,
  type RedisTlsConfig,
  redisConfigFromEnv,
} from './config.js';
export type { CommandTrace, Endpoint } from './diagnostics.js';
export { RedisError, type RedisErrorDelivery, type RedisErrorFields, type RedisErrorKind } from './errors.js';
export { deduplicateEvent, once } from './idempotency.js';
export { type GetOrSetOptions, KVStore, type KVStoreOptions, makeRedisKV, type ScanOptions } from './kv.js';
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
export type { JobContext, Processor } from './queue/attempt.js';
export { DelayError, JobFailedError, UnrecoverableError } from './queue/errors.js';
export type { TaskQueueEvents } from './queue/events.js';
export type { Job } from './queue/job.js';
export type {
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
export { TaskWorker, type TaskWorkerEvents } from './queue/worker.js';
export { type RetryOptions, retry } from './retry.js';
export { makeRedisSuite, type RedisSuite } from './suite.js';
export type { UpdateOptions } from './update.js';
