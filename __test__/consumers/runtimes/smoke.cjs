/** `require`, connect, a few commands, disconnect: the process then ends by itself. */
const { RedisConnectionManager, RedisError, createTestRedisConfig } = require('redis-backplane');
const assert = require('node:assert/strict');

async function main() {
  const config = createTestRedisConfig();
  const redis = new RedisConnectionManager(config);
  await redis.connect();
  const key = `${config.namespace}:key`;
  assert.equal(await redis.command('SET', key, 'wörld'), 'OK');
  assert.equal(await redis.command('GET', key), 'wörld');
  assert.deepEqual(
    await redis.transaction([
      ['INCR', `${key}:n`],
      ['DEL', key, `${key}:n`],
    ]),
    [1, 2],
  );
  const echoes = await Promise.all(Array.from({ length: 500 }, (_, i) => redis.command('ECHO', String(i))));
  assert.deepEqual(
    echoes,
    Array.from({ length: 500 }, (_, i) => String(i)),
  );
  const error = await redis.command('INCR').catch((e) => e);
  assert.ok(error instanceof RedisError && error instanceof Error);
  assert.equal(error.redisErrorKind, 'server');
  await redis.disconnect();
  assert.equal(redis.state, 'closed');
  console.log('smoke: ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
