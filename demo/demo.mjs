/** A first look: connect, a few commands, what the connection says about itself. */
import { makeRedisSuite } from 'redis-backplane';

const { base: redis, disconnect } = await makeRedisSuite(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379');
const { server, latencyMs } = await redis.health();
console.log(`connected to ${server?.kind} ${server?.version}, ${latencyMs?.toFixed(2)} ms away`);

await redis.command('SET', 'demo:greeting', 'hello', 'PX', 10_000);
console.log('GET      ', await redis.command('GET', 'demo:greeting'));
console.log(
  'MULTI    ',
  await redis.transaction([
    ['INCR', 'demo:n'],
    ['INCR', 'demo:n'],
  ]),
);
console.log('script   ', await redis.script('return ARGV[1] * 2', [], [21]));

const started = performance.now();
await Promise.all(Array.from({ length: 10_000 }, () => redis.command('INCR', 'demo:n')));
console.log(`10 000 INCR at once: ${(performance.now() - started).toFixed(0)} ms`);

await redis.command('DEL', 'demo:greeting', 'demo:n');
await disconnect();
console.log('disconnected; nothing keeps this process alive');
