/** Every public name and method of the connection manager, as a strict user writes them. */
import {
  type ConnectionState,
  createTestRedisConfig,
  type MetricsSnapshot,
  makeRedisSuite,
  REDIS_TEST_CONFIG,
  type RedisConfig,
  RedisConnectionManager,
  RedisError,
  type RedisErrorKind,
  redisConfigFromEnv,
} from 'redis-backplane';

const everyOption: RedisConfig = {
  host: 'localhost',
  port: 6379,
  db: 1,
  username: 'user',
  password: async () => 'secret',
  tls: { ca: 'pem', cert: Buffer.from('pem'), key: 'pem', servername: 'name', rejectUnauthorized: true },
  lazyConnect: true,
  connectTimeoutMs: 10_000,
  connectRetries: 0,
  commandTimeoutMs: 5_000,
  reconnect: { minDelayMs: 50, maxDelayMs: 2_000, maxAttempts: 10 },
  keepAliveMs: 10_000,
  maxPendingCommands: 100_000,
  closeTimeoutMs: 5_000,
  clientName: 'app',
  namespace: 'app',
};
const forms: RedisConfig[] = [{ url: 'redis://localhost' }, { path: '/run/redis.sock' }, { tls: true }, { password: 'secret' }, {}];

export async function manager(): Promise<void> {
  for (const config of forms) new RedisConnectionManager(config);
  new RedisConnectionManager('redis://localhost:6379/0');
  await using unused = new RedisConnectionManager();
  const redis = new RedisConnectionManager(everyOption);

  await redis.connect();
  const connected: boolean = redis.isConnected();
  const state: ConnectionState = redis.state;
  const ms: number = await redis.ping();
  const health = await redis.health();
  const { ok, latencyMs }: { ok: boolean; latencyMs: number | null } = health;
  const version: string | undefined = health.server?.version;
  const why: string | undefined = health.error;

  const text: string | null = await redis.command<string | null>('GET', 'key');
  const unknown: unknown = await redis.command('SET', 'key', Buffer.from('bytes'), 'EX', 60);
  const replies: unknown[] = await redis.transaction([
    ['INCR', 'n'],
    ['EXPIRE', 'n', 60],
  ]);
  const typed: [number, string] = await redis.transaction<[number, string]>([
    ['INCR', 'n'],
    ['GET', 'n'],
  ]);
  const sum: number = await redis.script<number>('return ARGV[1] + ARGV[2]', ['key'], [1, '2']);
  await redis.script('return 1', []);

  const metrics: MetricsSnapshot = redis.metrics();
  const hits: number = metrics.redis_cache_hit_total;

  const changed = (to: ConnectionState, from: ConnectionState) => console.log(to, from);
  redis
    .on('state', changed)
    .on('ready', () => {})
    .on('reconnecting', (info) => console.log(info.attempt))
    .on('error', (error) => console.log(error.redisErrorKind))
    .once('end', () => {})
    .off('state', changed);
  await redis.disconnect();

  const suite = await makeRedisSuite('redis://localhost');
  await Promise.all([suite.base.ping(), suite.pub.ping(), suite.sub.ping()]);
  await suite.disconnect();
  await (await makeRedisSuite(everyOption)).disconnect();

  const fromEnv: RedisConfig | null = redisConfigFromEnv();
  const fromOther: RedisConfig | null = redisConfigFromEnv({ REDIS_URL: 'redis://localhost' });
  const forTests: RedisConfig[] = [REDIS_TEST_CONFIG, createTestRedisConfig(), createTestRedisConfig({ db: 1 })];
  console.log(
    unused,
    connected,
    state,
    ms,
    ok,
    latencyMs,
    version,
    why,
    text,
    unknown,
    replies,
    typed,
    sum,
    hits,
    fromEnv,
    fromOther,
    forTests,
  );
}

/** Each kind, so that a kind that is added or renamed does not compile here. */
export function advice(error: unknown): string {
  if (!(error instanceof RedisError)) return 'not ours';
  const kind: RedisErrorKind = error.redisErrorKind;
  const about: [string, string | undefined, boolean, unknown] = [error.code, error.serverCode, error.retryable, error.cause];
  console.log(about);
  switch (error.delivery) {
    case 'not-sent':
    case 'maybe-executed':
    case 'rejected':
      break;
    default:
      return error.delivery satisfies never;
  }
  switch (kind) {
    case 'config':
    case 'disabled':
    case 'connection':
    case 'auth':
    case 'tls':
    case 'timeout':
    case 'closed':
    case 'overloaded':
    case 'server':
    case 'serialization':
    case 'lease-lost':
    case 'conflict':
    case 'cancelled':
      return kind;
    default:
      return kind satisfies never;
  }
}
