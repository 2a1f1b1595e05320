/** What must not compile. */
import { createTestRedisConfig, RedisConnectionManager } from 'redis-backplane';

// @ts-expect-error an option that does not exist
new RedisConnectionManager({ hots: 'localhost' });
// @ts-expect-error a port is a number
new RedisConnectionManager({ port: '6379' });
// @ts-expect-error the same in a test configuration
createTestRedisConfig({ databse: 1 });

export async function refused(redis: RedisConnectionManager): Promise<void> {
  // @ts-expect-error a command's arguments are text, numbers or bytes
  await redis.command('SET', 'key', { an: 'object' });
  // @ts-expect-error there is no such event
  redis.on('connected', () => {});
  // @ts-expect-error the state is read only
  redis.state = 'ready';
}
