const { createContainer } = require('redis-backplane');

async function main() {
  const redis = await createContainer({ redisUrl: 'memory://bundled' });
  await redis.getKV().set('key', 'value');
  console.log('stored:', await redis.getKV().get('key'));
  await redis.shutdown();
}

main();
