import { type Container, createContainer, createTestRedisConfig, memoryControl, RedisError } from 'redis-backplane';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SignUp, type User } from '../src/signup.js';

let redis: Container;
let signUp: SignUp;

// A namespace of its own for each test: memory://, or the server of REDIS_TEST_URL.
beforeEach(async () => {
  redis = await createContainer({ redis: createTestRedisConfig() });
  signUp = new SignUp(redis.getKV(), redis.getQueue('mails'), redis.getBus());
});
afterEach(() => redis.shutdown());

it('sends one mail for ten calls', async () => {
  const first = await Promise.all(Array.from({ length: 10 }, () => signUp.add({ email: 'ada@example.com' })));
  expect(first.filter(Boolean)).toHaveLength(1);
  expect(await redis.getQueue('mails').counts()).toMatchObject({ waiting: 1 });
});

it('tells the others', async () => {
  const told = new Promise<User>((resolve, reject) => {
    redis
      .getBus()
      .subscribe<User>('users.new', ({ payload }) => resolve(payload))
      .then(() => signUp.add({ email: 'ada@example.com' }))
      .catch(reject);
  });
  expect(await told).toEqual({ email: 'ada@example.com' });
});

it('retries a mail whose server was down', async () => {
  const attempts: number[] = [];
  const done = new Promise<void>((resolve) => {
    redis.getQueue<User, void>('mails').process(async (job) => {
      attempts.push(job.attemptsMade + 1);
      if (attempts.length === 1) throw new Error('the mail server is down');
      resolve();
    });
  });
  await redis.getQueue<User, void>('mails').add('welcome', { email: 'ada@example.com' }, { attempts: 2 });
  await done;
  expect(attempts).toEqual([1, 2]);
});

it('rejects, and says that nothing was sent twice, when the answer of Redis is lost', async () => {
  const memory = await createContainer({ url: 'memory://faults' });
  try {
    memoryControl('faults').dropReplies(1);
    const error = await memory
      .getKV()
      .incr('visits')
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RedisError);
    expect(error).toMatchObject({ delivery: 'maybe-executed' });
    expect(await memory.getKV().get('visits')).toBe(1);
  } finally {
    await memory.shutdown();
  }
});
