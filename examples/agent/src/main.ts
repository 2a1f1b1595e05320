import { RedisConnectionManager } from 'redis-backplane';
import { Refunds } from './refunds.js';

const redis = new RedisConnectionManager(process.env.REDIS_URL ?? 'memory://dev');
try {
  const refunds = new Refunds(redis, async (order, amount) => `receipt of ${amount} for ${order}`);
  console.log(await refunds.request('order-7', 20));
  console.log(await refunds.answer('order-7', true));
} finally {
  await redis.disconnect();
}
