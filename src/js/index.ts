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
export {
  type CommandArgument,
  type ConnectionEvents,
  type ConnectionHealth,
  type ConnectionState,
  RedisConnectionManager,
} from './manager.js';
export type { HistogramSnapshot, MetricsSnapshot } from './metrics.js';
export { makeRedisSuite, type RedisSuite } from './suite.js';
