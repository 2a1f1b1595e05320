/** Every method of the KV store, the lock and the idempotency helpers, as a strict user writes them. */
import {
  deduplicateEvent,
  KVStore,
  type Lock,
  makeRedisKV,
  memoryControl,
  once,
  type RedisConnectionManager,
  type RetryOptions,
  retry,
} from 'redis-backplane';

interface Session {
  user: string;
  visits: number;
}

export async function store(redis: RedisConnectionManager): Promise<void> {
  const kv = new KVStore(redis, { namespace: 'sessions' });
  const same: KVStore = makeRedisKV(redis, 'sessions');
  makeRedisKV(redis);
  new KVStore(redis);

  const session: Session | null = await kv.get<Session>('a');
  await kv.set<Session>('a', { user: 'ada', visits: 1 }, 60);
  await kv.set('b', 'text');
  const wasAbsent: boolean = await kv.setIfAbsent('a', { user: 'ada', visits: 1 }, 0.5);
  const bytes: Buffer | null = await kv.getBuffer('bytes');
  await kv.setBuffer('bytes', new Uint8Array([1, 2]), 60);
  const [deleted, has]: [number, boolean] = [await kv.del('a', 'b'), await kv.has('a')];
  const many: (Session | null)[] = await kv.mget<Session>(['a', 'b']);
  await kv.mset({ a: 1, b: 'two' }, 60);
  await kv.mset(new Map([['a', { user: 'ada', visits: 1 }]]));
  const counts: number[] = [await kv.incr('n'), await kv.incr('n', 2, 60), await kv.decr('n'), await kv.decr('n', 2)];
  const swapped: boolean = await kv.cas<Session>('a', null, { user: 'ada', visits: 1 }, 60);
  const updated: Session | null = await kv.update<Session>('a', (now) => (now ? { ...now, visits: now.visits + 1 } : null), {
    ttlSec: 60,
    maxAttempts: 5,
  });
  const taken: Session | null = await kv.getDel<Session>('a');
  const previous: number | null = await kv.getSet('n', 1, 60);
  const ttl: number | null = await kv.ttl('a');
  const [expires, persists]: [boolean, boolean] = [await kv.expire('a', 60), await kv.persist('a')];
  for await (const key of kv.scan({ match: 'a*' })) console.log(key.toUpperCase());
  const keys: AsyncIterable<string> = kv.scan();
  const cleared: number = await kv.clear();
  const length: number = await kv.lpushRecent('recent', { user: 'ada', visits: 1 }, 10, 60);
  const recent: Session[] = await kv.getRecent<Session>('recent', 10);
  const cached: Session | null = await kv.cacheGet<Session>('a');
  await kv.cacheSet('a', { user: 'ada', visits: 1 }, 60);
  const loaded: Session = await kv.getOrSet('a', async () => ({ user: 'ada', visits: 1 }), { ttlSec: 60, staleSec: 10 });
  const now: number = await kv.getOrSet('n', () => 1, { ttlSec: 1 });

  await using lock: Lock = await kv.lock('job', { leaseMs: 10_000, waitMs: 1_000, signal: AbortSignal.timeout(1_000) });
  const [name, token, lost]: [string, number, AbortSignal] = [lock.key, lock.token, lock.signal];
  await lock.extend();
  await lock.extend(5_000);
  const released: boolean = await lock.release();

  const ran: number | null = await once(kv, 'import', async () => 7, 60);
  const first: boolean = await deduplicateEvent(kv, 'event-1', 60);
  const options: RetryOptions = { maxAttempts: 3, minDelayMs: 1, maxDelayMs: 10, factor: 2, jitter: true, shouldRetry: () => true };
  const done: string = await retry(async (attempt) => `attempt ${attempt}`, options);
  await retry(async () => {}, { signal: new AbortController().signal });

  memoryControl('name').advance(1_000);
  console.log(same, session, wasAbsent, bytes, deleted, has, many, counts, swapped, updated, taken, previous, ttl, expires, persists);
  console.log(keys, cleared, length, recent, cached, loaded, now, name, token, lost, released, ran, first, done);
}
